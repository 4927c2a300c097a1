//! State shared by all handlers.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::bail;
use sllm_ort::{Model, config::ModelKind};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use super::{
    Settings,
    auth::Keys,
    chat_template::ChatTemplate,
    error::ApiError,
    hosts::Hosts,
    job::{Events, Job},
    metrics::{Gauges, Metrics, ModelGauges},
    prompt::Prompt,
    queue::Queue,
    scheduler::Scheduler,
    store::{Lease, Store},
};

/// Requests of one model without generation that run at the same time.
const WORKERS: usize = 2;

/// The server's state.
pub struct App {
    pub settings: Settings,
    pub keys: Keys,
    pub hosts: Hosts,
    pub metrics: Arc<Metrics>,
    pub sessions: Arc<Store>,
    models: OnceLock<Vec<Arc<Served>>>,
    draining: AtomicBool,
}

/// A model that is served.
pub struct Served {
    pub model: Model,
    /// When it was loaded, in seconds since 1970.
    pub created: u64,
    load: Duration,
    /// What makes a prompt of chat messages; `None` where their texts are joined.
    pub chat_template: Option<ChatTemplate>,
    /// `None` for a model that cannot generate.
    scheduler: Option<Scheduler>,
    workers: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// What is to be continued, before it is a job.
pub struct Request {
    pub home: Option<Lease>,
    pub prompt: Arc<Prompt>,
    pub options: Option<sllm_ort::GenerateOptions>,
}

impl App {
    pub fn new(settings: Settings, keys: Keys, hosts: Hosts) -> Self {
        let sessions = Store::new(settings.session_ttl, settings.session_memory);
        Self {
            keys,
            hosts,
            metrics: Arc::default(),
            sessions: Arc::new(sessions),
            models: OnceLock::new(),
            draining: AtomicBool::new(false),
            settings,
        }
    }

    /// Serve these models, each with the time that loading it took.
    pub fn set_models(&self, models: Vec<(Model, Duration)>) -> anyhow::Result<()> {
        let mut served: Vec<Arc<Served>> = Vec::new();
        for (model, load) in models {
            let name = &model.config().name;
            if served.iter().any(|other| other.name() == name) {
                bail!("two models are named {name}: serve one of them");
            }
            let scheduler = match model.config().kind {
                ModelKind::Svae => None,
                _ => {
                    let queue = self.queue(&model)?;
                    Some(Scheduler::start(&model, queue, &self.metrics)?)
                }
            };
            served.push(Arc::new(Served {
                chat_template: ChatTemplate::of(model.bundle())?,
                model,
                created: unix_seconds(),
                load,
                scheduler,
                workers: Arc::new(Semaphore::new(WORKERS)),
                waiting: Arc::default(),
            }));
        }
        let _ = self.models.set(served);
        Ok(())
    }

    /// The queue of a model: no more rows at a time than their KV memory allows.
    fn queue(&self, model: &Model) -> anyhow::Result<Queue> {
        let Settings {
            max_batch,
            kv_memory,
            max_queue,
            ..
        } = self.settings;
        let row_bytes = model.kv_bytes(None)?.kv_bytes_full_context.max(1);
        let rows = max_batch.min(kv_memory / row_bytes);
        if rows == 0 {
            bail!(
                "a full context of {} needs {row_bytes} bytes: --kv-memory must be at least that",
                model.config().name
            );
        }
        if rows < max_batch {
            tracing::warn!(
                "{}: {rows} texts at a time, as --kv-memory {kv_memory} is below {max_batch} full contexts",
                model.config().name
            );
        }
        let metrics = Arc::clone(&self.metrics);
        let threads = model.parallel_runs();
        Ok(Queue::new(rows, max_queue, threads, metrics))
    }

    pub fn models(&self) -> &[Arc<Served>] {
        self.models.get().map_or(&[], Vec::as_slice)
    }

    /// The model of this name; the only one, if none is named.
    pub fn model(&self, name: Option<&str>) -> Result<&Arc<Served>, ApiError> {
        match (name, self.models()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(ApiError::invalid(
                "model",
                "several models are served: name one of them",
            )),
            (Some(name), models) => models
                .iter()
                .find(|served| served.name() == name)
                .ok_or_else(|| ApiError::no_model(name)),
        }
    }

    pub fn is_loaded(&self) -> bool {
        self.models.get().is_some()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Take no new requests; end the others at this time after the sentence they are at.
    pub fn drain(&self, end_at: Instant) {
        self.draining.store(true, Ordering::Relaxed);
        for served in self.models() {
            if let Some(scheduler) = &served.scheduler {
                scheduler.drain(end_at);
            }
        }
    }

    /// Whether anything runs or waits.
    pub fn is_busy(&self) -> bool {
        self.models().iter().any(|served| {
            let counts = served.scheduler.as_ref().map(Scheduler::counts);
            counts.is_some_and(|(rows, waiting)| rows + waiting > 0)
                || served.waiting.load(Ordering::Relaxed) > 0
        })
    }

    /// Wait for the ends of the schedulers.
    pub fn join(&self) {
        for served in self.models() {
            if let Some(scheduler) = &served.scheduler {
                scheduler.join();
            }
        }
    }

    pub fn gauges(&self) -> Gauges {
        let (sessions, session_bytes) = self.sessions.totals();
        let models = self.models().iter().map(|served| {
            let scheduler = served.scheduler.as_ref();
            let (rows, waiting) = scheduler.map_or((0, 0), Scheduler::counts);
            ModelGauges {
                name: served.name().to_owned(),
                rows,
                waiting,
                load: served.load,
            }
        });
        Gauges {
            models: models.collect(),
            sessions,
            session_bytes,
            ready: self.is_loaded() && !self.is_draining(),
        }
    }

    /// Refuse texts that are too long together.
    pub fn check_bytes<T: AsRef<str>>(&self, param: &str, texts: &[T]) -> Result<(), ApiError> {
        let bytes: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let limit = self.settings.max_prompt_bytes;
        match bytes > limit {
            true => Err(ApiError::too_long(
                param,
                format!("{bytes} bytes of text, at most {limit} are allowed: send less at once"),
            )),
            false => Ok(()),
        }
    }

    /// Queue the parts of a request.
    pub fn submit(&self, served: &Served, requests: Vec<Request>) -> Result<Events, ApiError> {
        let scheduler = served.scheduler()?;
        let limit = self.settings.request_timeout;
        let (answers, events) = scheduler.answers(requests.len(), limit);
        let jobs = requests.into_iter().zip(answers);
        let jobs = jobs.map(|(request, answer)| Job {
            home: request.home,
            prompt: request.prompt,
            options: request.options,
            answer,
        });
        scheduler.submit(jobs.collect())?;
        Ok(events)
    }

    /// Run what takes a while, and is no generation, on another thread. It runs to its end, and keeps
    /// its place, even if the client leaves.
    pub async fn run<T: Send + 'static>(
        &self,
        served: &Arc<Served>,
        work: impl FnOnce(&Model) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = served.place(self.settings.max_queue + WORKERS)?;
        let running = async {
            let permit = Arc::clone(&served.workers).acquire_owned().await;
            let permit = permit.map_err(|_| ApiError::internal())?;
            let model = served.model.clone();
            let done = spawn_blocking(move || {
                let done = work(&model);
                drop((place, permit));
                done
            });
            done.await.map_err(|_| ApiError::internal())?
        };
        let limit = self.settings.request_timeout;
        let done = timeout(limit, running).await;
        done.unwrap_or_else(|_| Err(ApiError::timeout()))
    }
}

impl Served {
    pub fn name(&self) -> &str {
        &self.model.config().name
    }

    /// Most texts of a request that generates: those that run at a time, and those that wait.
    pub fn max_texts(&self) -> Result<usize, ApiError> {
        self.scheduler().map(Scheduler::capacity)
    }

    /// What generates, if the model can.
    fn scheduler(&self) -> Result<&Scheduler, ApiError> {
        self.scheduler.as_ref().ok_or_else(|| {
            let error = self.model.session().err();
            error.map_or_else(ApiError::internal, |error| {
                ApiError::of_library(&error, "model")
            })
        })
    }

    /// A place among those that wait, of which there are so many.
    fn place(&self, limit: usize) -> Result<Place, ApiError> {
        let place = Place(Arc::clone(&self.waiting));
        match self.waiting.fetch_add(1, Ordering::Relaxed) < limit {
            true => Ok(place),
            false => Err(ApiError::busy()),
        }
    }
}

struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The time in seconds since 1970.
pub fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// An id that nobody can guess.
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}-{:032x}", rand::random::<u128>())
}
