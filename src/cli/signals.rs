//! Ctrl-C, SIGTERM and SIGHUP while a text is continued.

use std::{
    io,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use sllm_ort::CancelHandle;

/// The exit status of a program that a signal ended is this and the signal's number.
const SIGNALLED: i32 = 128;

/// The number of the signal that came, 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);
/// Whether the program waits for another one, which nothing but a signal may end.
static WAITS: AtomicBool = AtomicBool::new(false);

/// Let a file that grows beyond the limit for files be an error, not the end of the program.
#[cfg(unix)]
pub fn survive_large_files() -> io::Result<()> {
    let received = std::sync::Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, received).map(|_| ())
}

/// Whether whoever started this program has it ignore the signal.
#[cfg(unix)]
fn is_ignored(number: std::ffi::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action this only writes the present one to `action`, and a zeroed
    // `sigaction` is a valid one.
    let action = unsafe {
        libc::sigaction(number, std::ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Work that signals interrupt.
pub struct Interruptible(());

impl Interruptible {
    /// From now on the first signal cancels `handle`, and the second one ends the program at once.
    /// A signal that is ignored stays so.
    ///
    /// # Errors
    /// If the system takes no handler, or starts no thread.
    pub fn watch(handle: CancelHandle) -> anyhow::Result<Self> {
        #[cfg(unix)]
        {
            use anyhow::Context as _;
            use signal_hook::{
                consts::{SIGHUP, SIGINT, SIGTERM},
                iterator::Signals,
                low_level::exit,
            };
            let mut all = vec![SIGHUP, SIGINT, SIGTERM];
            // As under `nohup`.
            all.retain(|&number| !is_ignored(number));
            let mut signals = Signals::new(all)?;
            std::thread::Builder::new()
                .spawn(move || {
                    for number in signals.forever() {
                        let earlier = RECEIVED.swap(number, Ordering::SeqCst);
                        if earlier != 0 || WAITS.load(Ordering::SeqCst) {
                            exit(SIGNALLED + number);
                        }
                        handle.cancel();
                    }
                })
                .context("cannot start a thread: the system allows no more")?;
        }
        #[cfg(not(unix))]
        drop(handle);
        Ok(Self(()))
    }

    pub fn is_interrupted(&self) -> bool {
        RECEIVED.load(Ordering::SeqCst) != 0
    }

    /// The exit status of the program, if there is nothing else to report.
    pub fn status(&self) -> ExitCode {
        match RECEIVED.load(Ordering::SeqCst) {
            0 => ExitCode::SUCCESS,
            number => u8::try_from(SIGNALLED + number).map_or(ExitCode::FAILURE, ExitCode::from),
        }
    }

    /// Do what may wait for another program for ever: a signal ends it and this program.
    pub fn wait_for<T>(&self, work: impl FnOnce() -> T) -> T {
        WAITS.store(true, Ordering::SeqCst);
        let done = work();
        WAITS.store(false, Ordering::SeqCst);
        done
    }
}

/// Wait until something can be written.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] if a signal came, and nothing can be written.
#[cfg(unix)]
pub fn wait_for_writing(file: &impl std::os::fd::AsFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    /// How long a signal may go unnoticed.
    const PATIENCE: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&PATIENCE)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {
                if RECEIVED.load(Ordering::SeqCst) != 0 {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
            // What is wrong with it, writing will say.
            Ok(_) | Err(_) => return Ok(()),
        }
    }
}

#[cfg(not(unix))]
pub fn wait_for_writing<T>(_: &T) -> io::Result<()> {
    Ok(())
}
