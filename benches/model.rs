//! Loading, encoding, taking a sentence into contexts of different lengths, decoding, whole
//! sentences one by one and together.
//!
//! `BENCH_MODELS` names bundles of kind `sllm`, with a comma between them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use sllm_ort::{GenerateOptions, LoadOptions, Model, Session};

const SENTENCE: &str = "The little fox ran to the big tree. ";
/// Sentences in a context.
const CACHED: [usize; 5] = [10, 50, 100, 500, 2000];
/// By how many sentences a context may grow before it is made anew.
const MORE_CACHED: usize = 16;
/// Sentences that are encoded, or decoded, together.
const BATCHES: [usize; 3] = [1, 8, 64];

fn model(criterion: &mut Criterion) {
    let bundles = env::var("BENCH_MODELS").unwrap_or_else(|_| "models/sllm-stories".into());
    for bundle in bundles.split(',') {
        let model = || {
            Model::load(bundle, LoadOptions::default())
                .unwrap_or_else(|error| panic!("{bundle}: {error}"))
        };
        let loaded = model();
        let mut group = criterion.benchmark_group(&loaded.config().name);
        // Few and long: a context that is made anew takes longer than what is measured.
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        group.bench_function("load", |bencher| bencher.iter(model));
        for count in BATCHES {
            group.throughput(Throughput::Elements(count as u64));
            let sentences = vec![SENTENCE; count];
            group.bench_with_input(
                BenchmarkId::new("encode", count),
                &sentences,
                |bencher, texts| {
                    bencher.iter(|| loaded.encode(black_box(texts)).expect("it encodes"));
                },
            );
        }
        group.throughput(Throughput::Elements(1));
        let limit = loaded.config().max_sentences.expect("kind sllm");
        for cached in CACHED
            .into_iter()
            .filter(|&cached| cached + MORE_CACHED <= limit)
        {
            group.bench_function(BenchmarkId::new("append after", cached), |bencher| {
                bencher.iter_custom(|count| time_of_appending(&loaded, cached, count));
            });
        }
        let vector = loaded.encode(&[SENTENCE]).expect("it encodes");
        let decode = || loaded.decode(vector.row(0)).expect("it decodes");
        let tokens = decode().1.len() as u64;
        group.throughput(Throughput::Elements(tokens));
        group.bench_function("decode, tokens", |bencher| bencher.iter(decode));
        for count in BATCHES {
            group.throughput(Throughput::Elements(count as u64));
            let setup = || (0..count).map(|_| session(&loaded, 10)).collect();
            group.bench_function(BenchmarkId::new("sentences together", count), |bencher| {
                bencher.iter_batched(setup, one_sentence_each, BatchSize::PerIteration);
            });
        }
        group.finish();
    }
}

/// The time that so many sentences take, each after a context of about `cached` others.
fn time_of_appending(model: &Model, cached: usize, count: u64) -> Duration {
    let mut session = session(model, cached);
    let mut time = Duration::ZERO;
    for _ in 0..count {
        if session.len() == cached + MORE_CACHED {
            session = self::session(model, cached);
        }
        let started = Instant::now();
        session.append(SENTENCE).expect("it fits");
        time += started.elapsed();
    }
    time
}

fn session(model: &Model, sentences: usize) -> Session {
    let mut session = model.session().expect("a session");
    session
        .append(&SENTENCE.repeat(sentences))
        .expect("it fits");
    session
}

fn one_sentence_each(mut sessions: Vec<Session>) -> Vec<Session> {
    let options = GenerateOptions::default()
        .with_max_sentences(1)
        .with_ignore_eos(true);
    if let [session] = &mut sessions[..] {
        for sentence in session.generate(options) {
            black_box(sentence.expect("a sentence"));
        }
        return sessions;
    }
    let batch = sessions
        .iter_mut()
        .map(|session| (session, options.clone()));
    Session::generate_batch(batch, |_, sentence| {
        black_box(sentence);
    })
    .expect("sentences");
    sessions
}

criterion_group!(benches, model);
criterion_main!(benches);
