//! Throughput of one model in 1, 2, 4 and 8 threads, and what a session and a second model cost.
//!
//! `cargo run --release --example thread_speed [BUNDLE] [SECONDS] [PARALLEL_RUNS]`; docs/concurrency.md
//! has the figures.

use std::{
    error::Error,
    fs, thread,
    time::{Duration, Instant},
};

use sllm_ort::{GenerateOptions, LoadOptions, Model, SamplingOptions, Session};

const BUNDLE: &str = "models/sllm-stories";
/// How long each number of threads runs, in each round.
const SECONDS: f64 = 3.0;
const ROUNDS: usize = 3;
const THREADS: [usize; 4] = [1, 2, 4, 8];
const PROMPT: &str =
    "Once upon a time, there was a little fox named Tim. Tim lived in a big forest with his mom. ";
/// Sentences that each session generates.
const SENTENCES: usize = 16;
/// Sessions that are held to measure what one costs.
const HELD: usize = 64;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let bundle = arguments.next().unwrap_or_else(|| BUNDLE.into());
    let seconds = arguments.next().map_or(Ok(SECONDS), |text| text.parse())?;
    let runs = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let options = || {
        LoadOptions::default()
            .with_threads(1)?
            .with_parallel_runs(runs)
    };
    let model = Model::load(&bundle, options()?)?;
    tell(&model, 0)?;

    let rounds = (0..ROUNDS).map(|_| {
        let rates = THREADS.map(|threads| tokens_per_second(&model, threads, seconds));
        rates.into_iter().collect::<Outcome<Vec<_>>>()
    });
    let rounds = rounds.collect::<Outcome<Vec<_>>>()?;
    println!("tokens/s of {bundle}, {SENTENCES} sentences a session, median of {ROUNDS} rounds:");
    for (place, threads) in THREADS.into_iter().enumerate() {
        let mut rates: Vec<f64> = rounds.iter().map(|round| round[place]).collect();
        rates.sort_by(f64::total_cmp);
        let (least, most) = (rates[0], rates[ROUNDS - 1]);
        println!(
            "{threads} threads: {:.0} ({least:.0} to {most:.0})",
            rates[ROUNDS / 2]
        );
    }

    let before = resident()?;
    let sessions = (0..HELD as u64).map(|seed| tell(&model, seed).map(|(session, _)| session));
    let sessions = sessions.collect::<Outcome<Vec<_>>>()?;
    let grown = resident()?.saturating_sub(before);
    let caches: usize = sessions.iter().map(Session::memory_bytes).sum();
    println!(
        "a session of {} sentences: {} KiB, {} KiB of it KV caches (mean of {HELD})",
        sessions[0].len(),
        grown / HELD as u64 / 1024,
        caches / HELD / 1024
    );
    let before = resident()?;
    let second = Model::load(&bundle, options()?)?;
    tell(&second, 0)?;
    println!(
        "a second loaded model: {} MiB",
        resident()?.saturating_sub(before) >> 20
    );
    Ok(())
}

/// A session with a whole continuation, and the number of its tokens.
fn tell(model: &Model, seed: u64) -> Outcome<(Session, usize)> {
    let mut session = model.session()?;
    session.append(PROMPT)?;
    let sampling = SamplingOptions::default()
        .with_temperature(0.8)?
        .with_seed(seed);
    let options = GenerateOptions::default()
        .with_max_sentences(SENTENCES)
        .with_ignore_eos(true)
        .with_sampling(sampling);
    let mut tokens = 0;
    for sentence in session.generate(options) {
        tokens += sentence?.token_ids.len();
    }
    Ok((session, tokens))
}

/// Tokens of all threads together, each with one session after the other.
fn tokens_per_second(model: &Model, threads: usize, seconds: f64) -> Outcome<f64> {
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let tokens = thread::scope(|scope| {
        let work = |thread: usize| {
            let model = model.clone();
            move || -> Outcome<usize> {
                let (mut tokens, mut seed) = (0, thread as u64);
                while Instant::now() < end {
                    tokens += tell(&model, seed)?.1;
                    seed += threads as u64;
                }
                Ok(tokens)
            }
        };
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(work(thread)))
            .collect();
        let counts = running.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err("a thread panicked".into()))
        });
        counts.sum::<Outcome<usize>>()
    })?;
    Ok(tokens as f64 / started.elapsed().as_secs_f64())
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
