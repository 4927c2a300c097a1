//! A prompt that is appended once, whatever the number of its choices.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use sllm_ort::{Appended, Session};

/// A text to append, which the choices of a prompt share. The first one that runs appends it; the
/// others, which wait until then, begin with a copy of its session.
pub struct Prompt {
    /// What it is in its request, for errors.
    pub param: Arc<str>,
    pub text: String,
    /// Whether a choice is appending it.
    is_busy: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Choices that have not begun.
    choices: usize,
    /// What they begin with.
    begun: Option<(Session, Appended)>,
}

impl Prompt {
    /// The prompt of so many choices.
    pub fn new(param: &str, text: String, choices: usize) -> Arc<Self> {
        Arc::new(Self {
            param: param.into(),
            text,
            is_busy: AtomicBool::new(false),
            state: Mutex::new(State {
                choices,
                begun: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a choice is appending it, so that the others are to wait.
    pub fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Acquire)
    }

    /// A choice begins, and appends it if no other has. Called by one thread at a time.
    pub fn begin(&self) {
        let has_begun = self.state().begun.is_some();
        self.is_busy.store(!has_begun, Ordering::Release);
    }

    /// The choice that appends it is ready for others, or has failed.
    pub fn release(&self) {
        self.is_busy.store(false, Ordering::Release);
    }

    /// What a choice begins with; `None` if it is to append the text itself.
    pub fn take(&self) -> Option<sllm_ort::Result<(Session, Appended)>> {
        let mut state = self.state();
        state.choices = state.choices.saturating_sub(1);
        if state.choices == 0 {
            return state.begun.take().map(Ok);
        }
        let (session, appended) = state.begun.as_ref()?;
        Some(session.fork().map(|fork| (fork, appended.clone())))
    }

    /// Keep a copy of a session that it was appended to, if there are choices to come.
    pub fn keep(&self, session: &Session, appended: &Appended) -> sllm_ort::Result<()> {
        let mut state = self.state();
        if state.choices > 0 {
            state.begun = Some((session.fork()?, appended.clone()));
        }
        Ok(())
    }
}
