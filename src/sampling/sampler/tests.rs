use super::*;
use crate::error::Error;

const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

fn counts(options: SamplingOptions) -> [usize; 5] {
    let mut sampler = Sampler::new(options, 2);
    let mut counts = [0; 5];
    for _ in 0..4000 {
        counts[sampler.choose(&mut Logits::dense(LOGITS.to_vec())) as usize] += 1;
    }
    counts
}

fn options(temperature: f32) -> SamplingOptions {
    SamplingOptions::default()
        .with_temperature(temperature)
        .unwrap()
}

#[test]
fn greedy_takes_the_first_best() {
    assert_eq!(counts(options(0.0)), [0, 4000, 0, 0, 0]);
}

#[test]
fn drawing_follows_the_softmax() {
    let total: f32 = LOGITS.iter().map(|logit| logit.exp()).sum();
    for (id, count) in counts(options(1.0)).into_iter().enumerate() {
        let expected = LOGITS[id].exp() / total * 4000.0;
        assert!(
            (count as f32 - expected).abs() < 120.0,
            "{id}: {count} for {expected}"
        );
    }
}

#[test]
fn cuts_leave_the_best() {
    let top_k = counts(options(1.0).with_top_k(Some(2)).unwrap());
    assert_eq!(top_k[0] + top_k[2] + top_k[4], 0, "{top_k:?}");
    assert!(top_k[1] > 1500 && top_k[3] > 1500, "{top_k:?}");
    let top_p = counts(options(1.0).with_top_p(0.6).unwrap());
    assert_eq!(top_p[0] + top_p[2] + top_p[4], 0, "{top_p:?}");
    assert_eq!(counts(options(1.0).with_top_p(1e-6).unwrap())[1], 4000);
}

#[test]
fn min_p_leaves_what_is_likely_enough() {
    // The third has 1/e of the best one's probability.
    let some = counts(options(1.0).with_min_p(0.3).unwrap());
    assert_eq!(some[0] + some[4], 0, "{some:?}");
    assert!(some[2] > 300, "{some:?}");
    let best = counts(options(1.0).with_min_p(1.0).unwrap());
    assert_eq!(best[0] + best[2] + best[4], 0, "{best:?}");
    assert!(best[1] > 1500 && best[3] > 1500, "{best:?}");
}

#[test]
fn an_n_gram_does_not_come_twice() {
    let ids = |n, count| -> Vec<u32> {
        let options = options(0.0).with_no_repeat_ngram(Some(n)).unwrap();
        let mut sampler = Sampler::new(options, 9);
        (0..count)
            .map(|_| sampler.choose(&mut Logits::dense(LOGITS.to_vec())))
            .collect()
    };
    // The best token each time that has not followed the one before: at last none is left.
    assert_eq!(ids(1, 7), [1, 3, 2, 0, 4, 9, 9]);
    assert_eq!(ids(2, 7), [1, 1, 3, 1, 2, 1, 0]);
    assert_eq!(ids(3, 4), [1, 1, 1, 3]);
}

#[test]
fn the_seed_decides() {
    let draw = |seed| {
        let mut sampler = Sampler::new(options(1.0).with_seed(seed), 2);
        (0..50)
            .map(|_| sampler.choose(&mut Logits::dense(LOGITS.to_vec())))
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn the_penalty_counts_each_token_once_and_spares_eos() {
    let penalized = options(0.0).with_repetition_penalty(2.0).unwrap();
    let mut sampler = Sampler::new(penalized, 2);
    let mut chosen = |logits: [f32; 4]| {
        let mut candidates = Logits::dense(logits.to_vec());
        let id = sampler.choose(&mut candidates);
        (id, [0, 1, 2, 3].map(|place| candidates.values()[place]))
    };
    assert_eq!(chosen([0.0, 5.0, 0.0, 0.0]), (1, [0.0, 5.0, 0.0, 0.0]));
    assert_eq!(chosen([0.0, 9.0, 0.0, 1.0]), (1, [0.0, 4.5, 0.0, 1.0]));
    assert_eq!(chosen([0.0, 9.0, 0.0, 5.0]), (3, [0.0, 4.5, 0.0, 5.0]));
    assert_eq!(chosen([0.0, -1.0, 7.0, 2.0]), (2, [0.0, -2.0, 7.0, 1.0]));
    assert_eq!(chosen([0.0, 0.0, 7.0, 0.0]), (2, [0.0, 0.0, 7.0, 0.0]));
}

#[test]
fn dry_makes_what_continues_a_sequence_less_likely() {
    let dry = |allowed| {
        let options = options(0.0).with_dry_multiplier(0.5).unwrap();
        let options = options.with_dry_base(2.0).unwrap();
        options.with_dry_allowed_length(allowed).unwrap()
    };
    let penalties = |allowed, context: &[u32]| {
        let mut sampler = Sampler::new(dry(allowed), 9);
        sampler.observe(context.iter().copied());
        let mut logits = Logits::dense(vec![1.0; 9]);
        sampler.choose(&mut logits);
        let changed = (0u32..).zip(logits.values()).filter(|(_, v)| **v != 1.0);
        changed.map(|(id, v)| (id, 1.0 - v)).collect::<Vec<_>>()
    };
    // After 5 came 6 with two equal tokens before it, and 7 with one.
    let context = [4, 5, 6, 1, 5, 7, 2, 4, 5];
    assert_eq!(penalties(1, &context), [(6, 1.0), (7, 0.5)]);
    assert_eq!(penalties(2, &context), [(6, 0.5)]);
    assert_eq!(penalties(3, &context), []);
    // The longest counts, wherever it is; ends of sentences are no part of a sequence.
    assert_eq!(penalties(1, &[4, 5, 6, 5, 6, 4, 9, 5]), [(6, 1.0)]);
    assert_eq!(penalties(1, &[3, 3, 3, 3]), [(3, 2.0)]);
    assert_eq!(penalties(1, &[3]), []);
    assert_eq!(penalties(1, &[]), []);
    // A sequence of any length gives a number.
    let long = penalties(1, &[8; 3000]);
    assert_eq!(long, [(8, 1000.0)]);
}

#[test]
fn ranges_are_kept() {
    let options = SamplingOptions::default;
    for refused in [
        options().with_temperature(-0.1),
        options().with_temperature(f32::NAN),
        options().with_top_k(Some(0)),
        options().with_top_p(0.0),
        options().with_top_p(1.1),
        options().with_min_p(1.5),
        options().with_no_repeat_ngram(Some(0)),
        options().with_repetition_penalty(0.5),
        options().with_dry_multiplier(-0.1),
        options().with_dry_multiplier(f32::NAN),
        options().with_dry_base(0.9),
        options().with_dry_allowed_length(0),
        options().with_dry_allowed_length(51),
    ] {
        assert!(
            matches!(refused, Err(Error::InvalidOption { .. })),
            "{refused:?}"
        );
    }
}

/// A rounding error changes no choice but one between scores that are as close.
#[test]
fn rounding_changes_nothing() {
    let mut differ = 0;
    for seed in 0..2000u64 {
        let noise = |place: usize| gumbel(mixed(seed ^ (place as u64) << 32)) as f32;
        let logits: Vec<f32> = (0..64).map(|place| 3.0 * noise(place)).collect();
        let rounded = logits.iter().map(|logit| logit * (1.0 + 1e-6)).collect();
        let options = options(0.9).with_seed(seed).with_top_k(Some(20)).unwrap();
        let mut sampler = Sampler::new(options, 70);
        let mut other = sampler.clone();
        let one = sampler.choose(&mut Logits::dense(logits.clone()));
        differ += usize::from(one != other.choose(&mut Logits::dense(rounded)));
        // Nor does the order of the candidates.
        let ids = (0..64).rev().collect();
        let reversed = Logits::top(ids, logits.into_iter().rev().collect());
        other.go_to(0, 0);
        assert_eq!(one, other.choose(&mut reversed.clone()));
    }
    assert_eq!(differ, 0);
}

/// What is drawn depends on the place in the context, not on how often it was drawn before.
#[test]
fn a_place_has_its_own_noise() {
    let draw = |sentence, token| {
        let mut sampler = Sampler::new(options(1.0).with_seed(3), 2);
        sampler.go_to(sentence, token);
        (0..20)
            .map(|_| sampler.choose(&mut Logits::dense(LOGITS.to_vec())))
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(4, 0)[10..], draw(4, 10)[..10]);
    assert_ne!(draw(4, 0), draw(5, 0));
}

/// Tokens that are left out early are none that top p would leave.
#[test]
fn top_p_is_that_of_all_tokens() {
    let logits: Vec<f32> = (0..1000u64)
        .map(|id| (mixed(id) % 1000) as f32 / 100.0)
        .collect();
    for (top_p, temperature) in [
        (0.1, 1.0),
        (0.5, 0.5),
        (0.9, 1.0),
        (0.95, 2.0),
        (0.999, 5.0),
    ] {
        let weight = |id: &u32| (f64::from(logits[*id as usize]) / f64::from(temperature)).exp();
        let mut ids: Vec<u32> = (0..1000).collect();
        ids.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.cmp(b)));
        let wanted = ids.iter().map(weight).sum::<f64>() * f64::from(top_p);
        let mut sum = 0.0;
        let reached = ids.iter().position(|id| {
            sum += weight(id);
            sum >= wanted
        });
        let expected: std::collections::BTreeSet<u32> =
            ids[..=reached.unwrap()].iter().copied().collect();
        let options = options(temperature).with_top_p(top_p).unwrap();
        let mut sampler = Sampler::new(options, 5000);
        let mut found = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            found.insert(sampler.choose(&mut Logits::dense(logits.clone())));
        }
        assert!(found.is_subset(&expected), "{top_p}: {found:?}");
        assert!(
            found.len() * 2 >= expected.len(),
            "{top_p}: {} of {}",
            found.len(),
            expected.len()
        );
    }
}
