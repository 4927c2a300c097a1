//! Work without the interpreter's lock that Ctrl-C ends.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use pyo3::prelude::*;
use sllm_ort::CancelHandle;

/// How often signals are looked for while graphs run.
const SIGNAL_PERIOD: Duration = Duration::from_millis(10);

/// Receives the pieces of text of a generation.
pub type OnText<'t> = &'t mut dyn FnMut(&str);

/// Do `work` with the interpreter's lock released. It ends early once `cancel` is cancelled.
///
/// In the main thread, the only one in which Python handles signals, `work` is done by a thread of
/// its own while this one looks for signals. So it is where `on_text` is given, which is called here
/// with each piece of text.
///
/// # Errors
/// What a signal handler or `on_text` raised; `work` has then been cancelled, and has ended.
pub fn run(
    py: Python<'_>,
    cancel: &CancelHandle,
    on_text: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(OnText<'_>) + Send,
) -> PyResult<()> {
    if on_text.is_none() && !in_main_thread(py)? {
        py.detach(|| work(&mut |_| {}));
        return Ok(());
    }
    let (sender, mut receiver) = mpsc::channel::<String>();
    let streams = on_text.is_some();
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("sllm-ort".into())
            .spawn_scoped(scope, move || {
                work(&mut |text| {
                    if streams {
                        // The receiver lives as long as this thread.
                        let _ = sender.send(text.to_owned());
                    }
                });
            })?;
        let mut outcome = Ok(());
        loop {
            let receiver = &mut receiver;
            let received = match py.detach(move || receiver.recv_timeout(SIGNAL_PERIOD)) {
                Ok(text) => Some(text),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if outcome.is_ok() {
                outcome = attend(py, received, on_text);
                if outcome.is_err() {
                    cancel.cancel();
                }
            }
        }
        if let Err(panic) = py.detach(|| worker.join()) {
            std::panic::resume_unwind(panic);
        }
        outcome
    })
}

/// Hand on a piece of text, and let Python handle signals.
fn attend(
    py: Python<'_>,
    text: Option<String>,
    on_text: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    if let (Some(text), Some(on_text)) = (text, on_text) {
        on_text.call1((text,))?;
    }
    py.check_signals()
}

fn in_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    threading.call_method0("get_ident")?.eq(main)
}
