//! Random changes of all hostile and good files: no panic, nothing slow, no memory that stays.
//!
//! `SLLM_MUTATIONS` is how many (10,000; `make hostile` sets 100,000), `SLLM_MUTATION_SEED` from where.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod hostile_support;

use std::{env, fs};

use hostile_support::{Place, corpus, outcome, tiny_tokenizer, tokenizer, tokenizers};
use rand::{Rng as _, RngExt as _, SeedableRng, rngs::StdRng};

/// Inputs in all where `SLLM_MUTATIONS` is not set.
const MUTATIONS: u64 = 10_000;
/// Inputs that are read before memory is looked at: arenas and caches fill.
const WARM_UP: u64 = 2_000;
/// Most resident memory that all inputs after them may add, in bytes.
const MAX_GROWTH: u64 = 128 << 20;
/// Numbers that are put in the place of others.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "65",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "1e999",
    "0.5",
    "-0",
    "00",
];

fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).map_or(usual, |value| value.parse().unwrap())
}

/// What each input is read as.
#[derive(Clone, Copy)]
enum Sort {
    Manifest,
    Session,
    Tokenizer,
    Text,
}

fn sources() -> Vec<(Sort, Vec<u8>)> {
    let golden = |name: &str| fs::read(format!("tests/golden/bundle/{name}")).unwrap();
    let files = [
        (Sort::Manifest, golden("sllm.json"), corpus("manifest")),
        (
            Sort::Session,
            fs::read("tests/hostile/session/good.json").unwrap(),
            corpus("session"),
        ),
        (
            Sort::Tokenizer,
            tiny_tokenizer::json().to_string().into_bytes(),
            tokenizers(),
        ),
        (
            Sort::Text,
            fs::read("tests/data/stories.txt").unwrap(),
            corpus("text"),
        ),
    ];
    let mut all = Vec::new();
    for (sort, good, hostile) in files {
        // A change of a good file goes deeper than one of a file that is refused at once.
        let copies = hostile.len() * 2;
        all.extend(hostile.into_iter().map(|(_, bytes)| (sort, bytes)));
        all.extend(vec![(sort, good); copies]);
    }
    all
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut StdRng) {
    for _ in 0..rng.random_range(1..=4) {
        if bytes.is_empty() {
            bytes.push(rng.random());
        }
        let at = rng.random_range(0..bytes.len());
        let end = (at + rng.random_range(0..=64)).min(bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let slice = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, slice);
            }
            _ => swap_number(bytes, at, rng),
        }
    }
}

/// Put one of [`NUMBERS`] in the place of the next number after `at`.
fn swap_number(bytes: &mut Vec<u8>, at: usize, rng: &mut StdRng) {
    let Some(start) = (at..bytes.len()).find(|&i| bytes[i].is_ascii_digit()) else {
        return;
    };
    let end = (start..bytes.len())
        .find(|&i| !bytes[i].is_ascii_digit())
        .unwrap_or(bytes.len());
    let number = NUMBERS[rng.next_u32() as usize % NUMBERS.len()];
    bytes.splice(start..end, number.bytes());
}

/// Resident memory in bytes; 0 where the system does not say.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.map_or(0, |line| {
        line.trim().trim_end_matches(" kB").parse().unwrap()
    });
    kib * 1024
}

#[test]
fn changed_files() {
    let (count, seed) = (
        setting("SLLM_MUTATIONS", MUTATIONS),
        setting("SLLM_MUTATION_SEED", 0),
    );
    let place = Place::new();
    let sources = sources();
    let (mut good, mut warm) = (0, 0);
    for number in 0..count {
        // Each input has its own generator, so that it can be made again alone.
        let mut rng = StdRng::seed_from_u64(seed.wrapping_add(number));
        let (sort, source) = &sources[rng.random_range(0..sources.len())];
        let mut bytes = source.clone();
        mutate(&mut bytes, &mut rng);
        let read = || match sort {
            Sort::Manifest => place.manifest(&bytes),
            Sort::Session => place.session(&bytes),
            Sort::Tokenizer => tokenizer(&bytes),
            Sort::Text => place.text(&bytes),
        };
        let name = format!("input {number} of seed {seed}");
        good += u64::from(outcome(&name, read) == "good");
        if number + 1 == WARM_UP.min(count) {
            warm = resident();
        }
    }
    let grown = resident().saturating_sub(warm);
    println!(
        "{count} inputs, {good} of them good, {} KiB more memory",
        grown / 1024
    );
    assert!(
        grown < MAX_GROWTH,
        "{count} inputs took {grown} bytes of memory"
    );
    // Were none good, or all, the changes would reach nothing.
    assert!(
        count / 100 < good && good < count / 2,
        "{good} of {count} were good"
    );
}
