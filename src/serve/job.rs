//! What a scheduler is asked to do, and what it answers.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sllm_ort::{Appended, CancelHandle, FinishReason, GenerateOptions, Sentence};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout_at,
};

use super::{
    error::ApiError,
    prompt::Prompt,
    queue::Queue,
    store::{Description, Lease},
};

/// Least time between two texts of a sentence: a token each, they would take the server and its
/// client more time than the graphs.
const TEXT_PAUSE: Duration = Duration::from_millis(10);

/// A context to be continued: one row of the batch.
pub struct Job {
    /// The session to continue; `None` for a new one.
    pub home: Option<Lease>,
    /// Text to append first.
    pub prompt: Arc<Prompt>,
    /// `None` if the text is only appended.
    pub options: Option<GenerateOptions>,
    pub answer: Answer,
}

/// Takes events from a scheduler's thread to the requests. A task hands them out: to wake one task
/// for all rows takes the thread less time than to wake one for each.
#[derive(Clone)]
pub struct Post {
    letters: UnboundedSender<Letter>,
}

/// An event of a job, and the request that it is for.
struct Letter {
    events: UnboundedSender<(usize, Event)>,
    number: usize,
    event: Event,
}

impl Post {
    /// Start the task, which ends with the last copy of what is returned.
    pub fn start() -> Self {
        let (letters, mut receiver) = unbounded_channel::<Letter>();
        tokio::spawn(async move {
            while let Some(letter) = receiver.recv().await {
                // Whoever does not listen any more has cancelled.
                let _ = letter.events.send((letter.number, letter.event));
            }
        });
        Self { letters }
    }
}

/// Where the events of a job go.
pub struct Answer {
    /// The number of the job in its request.
    number: usize,
    events: UnboundedSender<(usize, Event)>,
    post: Post,
    cancel: CancelHandle,
    /// Whether a job of the request has begun.
    started: Arc<AtomicBool>,
    /// Whether a job of the request has failed while its client was there.
    failed: Arc<AtomicBool>,
    pub arrived: Instant,
    deadline: Instant,
}

/// What happens to a job.
pub enum Event {
    /// The prompt is part of the context now.
    Started {
        /// Tokens of the context.
        tokens: usize,
        appended: Appended,
    },
    /// A piece of text, in whole characters.
    Text(String),
    /// A sentence, and when it was whole.
    Sentence(Sentence, Instant),
    /// The session that a text was appended to, as it was given back.
    Described(Arc<Description>),
    /// It has ended well.
    Ended(End),
    Failed(ApiError),
}

/// Why a job ended.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The text was appended, and nothing was to be generated.
    Appended,
    Finished(FinishReason),
    /// The server shuts down.
    ShutDown,
}

impl End {
    /// The reason as OpenAI's API names it.
    pub fn openai(self) -> &'static str {
        match self {
            Self::Finished(FinishReason::Stop | FinishReason::StopText) => "stop",
            _ => "length",
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Appended => "appended",
            Self::Finished(reason) => reason.as_str(),
            Self::ShutDown => "shut_down",
        }
    }
}

/// The events of all jobs of a request. Dropped, it ends them.
pub struct Events {
    receiver: UnboundedReceiver<(usize, Event)>,
    cancel: CancelHandle,
    queue: Arc<Queue>,
    /// Whether all jobs have ended.
    is_over: bool,
    ready: VecDeque<(usize, Event)>,
    /// Texts that wait for `text_from`, one of a job.
    texts: Vec<(usize, String)>,
    text_from: Instant,
}

impl Events {
    fn new(
        receiver: UnboundedReceiver<(usize, Event)>,
        cancel: CancelHandle,
        queue: Arc<Queue>,
    ) -> Self {
        Self {
            receiver,
            cancel,
            queue,
            is_over: false,
            ready: VecDeque::new(),
            texts: Vec::new(),
            text_from: Instant::now(),
        }
    }

    /// The next event with the number of its job; `None` when all jobs have ended. Within a sentence
    /// there is no text twice within [`TEXT_PAUSE`]: what comes between is one text.
    pub async fn next(&mut self) -> Option<(usize, Event)> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let received = match self.texts.is_empty() {
                true => self.receiver.recv().await,
                false => match timeout_at(self.text_from.into(), self.receiver.recv()).await {
                    Ok(received) => received,
                    Err(_) => {
                        self.pass_texts();
                        continue;
                    }
                },
            };
            match received {
                Some((number, Event::Text(text))) => {
                    match self.texts.iter_mut().find(|(of, _)| *of == number) {
                        Some((_, waiting)) => waiting.push_str(&text),
                        None => self.texts.push((number, text)),
                    }
                    if Instant::now() >= self.text_from {
                        self.pass_texts();
                    }
                }
                Some(other) => {
                    self.pass_texts();
                    self.ready.push_back(other);
                }
                None if self.texts.is_empty() => {
                    self.is_over = true;
                    return None;
                }
                None => self.pass_texts(),
            }
        }
    }

    fn pass_texts(&mut self) {
        if self.texts.is_empty() {
            return;
        }
        let texts = self.texts.drain(..);
        self.ready
            .extend(texts.map(|(number, text)| (number, Event::Text(text))));
        self.text_from = Instant::now() + TEXT_PAUSE;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.cancel.cancel();
        if !self.is_over {
            self.queue.remove_abandoned();
        }
    }
}

/// The answers of so many jobs that arrive now, wait in `queue` and must end within `timeout`.
pub fn answers(
    jobs: usize,
    timeout: Duration,
    post: &Post,
    queue: &Arc<Queue>,
) -> (Vec<Answer>, Events) {
    let (events, receiver) = unbounded_channel();
    let cancel = CancelHandle::new();
    let (started, failed) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let arrived = Instant::now();
    let answer = |number| Answer {
        number,
        events: events.clone(),
        post: post.clone(),
        cancel: cancel.clone(),
        started: Arc::clone(&started),
        failed: Arc::clone(&failed),
        arrived,
        deadline: arrived + timeout,
    };
    let answers = (0..jobs).map(answer).collect();
    (answers, Events::new(receiver, cancel, Arc::clone(queue)))
}

impl Answer {
    pub fn send(&self, event: Event) {
        if matches!(event, Event::Failed(_)) && !self.is_abandoned() {
            self.failed.store(true, Ordering::Relaxed);
        }
        // The task ends with the runtime only.
        let _ = self.post.letters.send(Letter {
            events: self.events.clone(),
            number: self.number,
            event,
        });
    }

    pub fn cancel(&self) -> &CancelHandle {
        &self.cancel
    }

    pub fn start(&self) {
        self.started.store(true, Ordering::Relaxed);
    }

    /// Whether a job of the request has begun.
    pub fn request_started(&self) -> bool {
        self.started.load(Ordering::Relaxed)
    }

    /// Time that is left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether the client is gone.
    pub fn is_abandoned(&self) -> bool {
        self.cancel.is_cancelled() || self.events.is_closed()
    }

    /// Whether the job ends for its client, who left, or its time, and not for another job of its
    /// request, which failed.
    pub fn is_cancelled(&self) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        self.remaining().is_zero() || (self.is_abandoned() && !failed)
    }

    /// Why the job is not to be worked on any more.
    pub fn refusal(&self) -> Option<ApiError> {
        let over = self.is_abandoned() || self.remaining().is_zero();
        over.then(ApiError::timeout)
    }
}
