//! Ctrl-C and SIGTERM while a text is continued.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use sllm_ort::CancelHandle;

/// The exit status of a program that a signal ended is this and the signal's number.
const SIGNALLED: i32 = 128;

/// What a signal was asked to end.
pub struct Interruptible {
    signal: Arc<AtomicI32>,
}

impl Interruptible {
    /// From now on the first signal cancels `handle`, and the second one ends the program at once.
    ///
    /// # Errors
    /// If the system takes no handler.
    pub fn watch(handle: CancelHandle) -> anyhow::Result<Self> {
        let signal = Arc::new(AtomicI32::new(0));
        #[cfg(unix)]
        {
            use signal_hook::{
                consts::{SIGINT, SIGTERM},
                iterator::Signals,
                low_level::exit,
            };
            let mut signals = Signals::new([SIGINT, SIGTERM])?;
            let received = Arc::clone(&signal);
            std::thread::spawn(move || {
                for number in signals.forever() {
                    if received.swap(number, Ordering::SeqCst) != 0 {
                        exit(SIGNALLED + number);
                    }
                    handle.cancel();
                }
            });
        }
        #[cfg(not(unix))]
        drop(handle);
        Ok(Self { signal })
    }

    /// The exit status of the program, if there is nothing else to report.
    pub fn status(&self) -> ExitCode {
        match self.signal.load(Ordering::SeqCst) {
            0 => ExitCode::SUCCESS,
            number => u8::try_from(SIGNALLED + number).map_or(ExitCode::FAILURE, ExitCode::from),
        }
    }
}
