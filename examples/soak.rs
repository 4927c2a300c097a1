//! Makes, continues, cancels, saves, loads and drops sessions of one model in several threads for a
//! long time, and fails if memory grows or an output changes: `make soak`.
//!
//! `SOAK_SECONDS` is how long (600), `SOAK_THREADS` how many threads (4), `SOAK_BUNDLE` the model.

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use sllm_ort::{
    CancelHandle, FinishReason, GenerateOptions, LoadOptions, Model, SamplingOptions, Session,
};

const SECONDS: u64 = 600;
const THREADS: u64 = 4;
const BUNDLE: &str = "tests/golden/bundle";
/// Part of the time after which memory must be flat: arenas and caches are full then.
const WARM_UP: f64 = 0.25;
/// Most resident memory that may be added after it, in bytes.
const MAX_GROWTH: u64 = 16 << 20;
const PROMPTS: [&str; 4] = [
    "Hello, ",
    "the cat sat on the hill. ",
    "hello world. the cat sat. ",
    "one. two. three. four. ",
];
/// Continuations that are known in advance: each prompt, greedy and drawn.
const KINDS: usize = 2 * PROMPTS.len();
const SENTENCES: usize = 3;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Default)]
struct Counts {
    sessions: AtomicU64,
    sentences: AtomicU64,
    saved_and_loaded: AtomicU64,
    cancelled: AtomicU64,
    out_of_time: AtomicU64,
}

fn main() -> Outcome<()> {
    let setting = |name: &str, usual| env::var(name).map_or(Ok(usual), |text| text.parse());
    let seconds = setting("SOAK_SECONDS", SECONDS)?;
    let threads = setting("SOAK_THREADS", THREADS)?;
    let bundle = env::var("SOAK_BUNDLE").unwrap_or_else(|_| BUNDLE.into());
    let model = Model::load(&bundle, LoadOptions::default())?;
    let expected = (0..KINDS).map(|kind| ids(&mut session(&model, kind)?, kind));
    let expected = expected.collect::<Outcome<Vec<_>>>()?;
    let folder = tempfile::tempdir()?;
    let counts = Counts::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    let memory = thread::scope(|scope| {
        let work = |thread: u64| {
            let (model, expected, counts) = (model.clone(), &expected, &counts);
            let file = folder.path().join(format!("{thread}.session"));
            move || -> Outcome<()> {
                let mut number = thread as usize;
                while Instant::now() < end {
                    one_session(&model, number, expected, &file, counts)?;
                    number += 1;
                }
                Ok(())
            }
        };
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(work(thread)))
            .collect();
        let memory = watch(end, Duration::from_secs(seconds));
        for thread in running {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        memory
    })?;
    report(&counts, seconds, threads, &memory)
}

/// One session of its kind, to its end in one of several ways.
fn one_session(
    model: &Model,
    number: usize,
    expected: &[Vec<Vec<u32>>],
    file: &Path,
    counts: &Counts,
) -> Outcome<()> {
    let kind = number % KINDS;
    let mut session = session(model, kind)?;
    let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
    match number % 7 {
        0 => {
            session.save(file)?;
            session = Session::load(model, file)?;
            add(&counts.saved_and_loaded, 1);
        }
        1 => {
            let cancel = CancelHandle::new();
            let mut generation = session.generate(options(kind)?.with_cancel(cancel.clone()));
            generation.next().transpose()?;
            cancel.cancel();
            if generation.next().is_some()
                || generation.finish_reason() != Some(FinishReason::Cancelled)
            {
                return Err(format!("not cancelled: {:?}", generation.finish_reason()).into());
            }
            session.clear()?;
            session.append(PROMPTS[kind % PROMPTS.len()])?;
            add(&counts.cancelled, 1);
        }
        2 => {
            let mut generation = session.generate(options(kind)?.with_time_limit(Duration::ZERO));
            if generation.next().is_some()
                || generation.finish_reason() != Some(FinishReason::TimeLimit)
            {
                return Err(format!("not out of time: {:?}", generation.finish_reason()).into());
            }
            add(&counts.out_of_time, 1);
        }
        _ => {}
    }
    let found = ids(&mut session, kind)?;
    if found != expected[kind] {
        return Err(format!("session {number}: {found:?} is not {:?}", expected[kind]).into());
    }
    add(&counts.sessions, 1);
    add(&counts.sentences, found.len() as u64);
    Ok(())
}

fn session(model: &Model, kind: usize) -> Outcome<Session> {
    let mut session = model.session()?;
    session.append(PROMPTS[kind % PROMPTS.len()])?;
    Ok(session)
}

fn options(kind: usize) -> Outcome<GenerateOptions> {
    let temperature = if kind < PROMPTS.len() { 0.0 } else { 1.0 };
    let sampling = SamplingOptions::default().with_temperature(temperature)?;
    Ok(GenerateOptions::default()
        .with_max_sentences(SENTENCES)
        .with_ignore_eos(true)
        .with_sampling(sampling.with_seed(kind as u64)))
}

fn ids(session: &mut Session, kind: usize) -> Outcome<Vec<Vec<u32>>> {
    let sentences = session.generate(options(kind)?);
    let ids = sentences.map(|sentence| Ok(sentence?.token_ids));
    ids.collect()
}

/// Resident memory, a hundred times until the end.
fn watch(end: Instant, whole: Duration) -> Outcome<Vec<u64>> {
    let mut memory = Vec::new();
    while Instant::now() < end {
        memory.push(resident()?);
        thread::sleep(whole / 100);
    }
    Ok(memory)
}

fn report(counts: &Counts, seconds: u64, threads: u64, memory: &[u64]) -> Outcome<()> {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{seconds} s, {threads} threads: {} sessions, {} sentences; {} saved and loaded, {} cancelled, {} out of time; all outputs as at the start",
        count(&counts.sessions),
        count(&counts.sentences),
        count(&counts.saved_and_loaded),
        count(&counts.cancelled),
        count(&counts.out_of_time),
    );
    let warm = &memory[(memory.len() as f64 * WARM_UP) as usize..];
    // The medians of the first and the last fifth: single values jump.
    let fifth = warm.len().div_ceil(5);
    let (first, last) = (median(&warm[..fifth]), median(&warm[warm.len() - fifth..]));
    println!(
        "resident memory: {} KiB after warm-up, {} KiB at the end",
        first / 1024,
        last / 1024
    );
    if last > first + MAX_GROWTH {
        return Err(format!("memory grew by {} KiB", (last - first) / 1024).into());
    }
    Ok(())
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

/// Resident memory of this process, in bytes; Linux only.
fn resident() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .ok_or("no VmRSS")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib * 1024)
}
