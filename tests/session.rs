//! What a session can do beside growing: forks, going back, limits, choices.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    thread,
    time::{Duration, Instant},
};

use sllm_ort::{
    CancelHandle, Error, FinishReason, GenerateOptions, LoadOptions, Logits, LogitsHook, Model,
    OverflowPolicy, SamplingOptions, Sentence, Session, config::ModelKind,
};

const TEXT: &str = "The cat sat on the hill. She ran to the tree. The end was near. It is so. ";
/// The same number of sentences for a context of few tokens.
const SHORT_TEXT: &str = "A cat. It is. So. He ran. ";
/// Bundles of models with a context, and their variants.
const MODELS: [(&str, &[&str]); 4] = [
    ("tests/golden/bundle", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-original", &["portable", "cpu-int8"]),
    ("tests/golden/bundle-opt", &["portable", "cpu-int8"]),
    // Its 8 bit variant rounds otherwise where more sentences are encoded at a time.
    ("models/sllm-stories", &["portable"]),
];

fn models() -> Vec<(String, Model)> {
    let variants = MODELS.iter().flat_map(|(bundle, variants)| {
        let name = move |variant: &&str| ((*bundle).to_owned(), (*variant).to_owned());
        variants.iter().map(name)
    });
    variants
        .map(|(bundle, variant)| {
            let options = LoadOptions::default().with_variant(&variant);
            let model = Model::load(&bundle, options).unwrap();
            (format!("{bundle} {variant}"), model)
        })
        .collect()
}

fn text(model: &Model) -> &'static str {
    match model.config().kind {
        ModelKind::Opt => SHORT_TEXT,
        _ => TEXT,
    }
}

fn stories() -> Model {
    let options = LoadOptions::default().with_variant("portable");
    Model::load("models/sllm-stories", options).unwrap()
}

fn session(model: &Model, text: &str) -> Session {
    let mut session = model.session().unwrap();
    session.append(text).unwrap();
    session
}

fn few() -> GenerateOptions {
    GenerateOptions::default()
        .with_max_sentences(3)
        .with_ignore_eos(true)
        .with_sampling(SamplingOptions::default())
}

fn sampled(seed: u64) -> GenerateOptions {
    let sampling = SamplingOptions::default().with_temperature(1.0).unwrap();
    few().with_sampling(sampling.with_seed(seed))
}

fn generate(session: &mut Session, options: GenerateOptions) -> Vec<Sentence> {
    session.generate(options).map(Result::unwrap).collect()
}

fn ids(sentences: &[Sentence]) -> Vec<Vec<u32>> {
    sentences.iter().map(|s| s.token_ids.clone()).collect()
}

#[test]
fn sentences_are_appended_as_text_is() {
    for (name, model) in models() {
        let sentences = model.text_pipeline().sentences(text(&model)).unwrap();
        let sentences: Vec<_> = sentences.map(Result::unwrap).collect();
        let mut appended = model.session().unwrap();
        appended.append_sentences(&sentences).unwrap();
        let mut expected = session(&model, text(&model));
        assert_eq!(appended.text(), expected.text(), "{name}");
        assert_eq!(
            ids(&generate(&mut appended, few())),
            ids(&generate(&mut expected, few())),
            "{name}"
        );
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    for (name, model) in models() {
        let mut original = session(&model, text(&model));
        let mut fork = original.fork().unwrap();
        assert_eq!(fork.text(), text(&model), "{name}");
        fork.append("And then? ").unwrap();
        assert_eq!(original.len(), 4, "{name}");
        let mut again = original.fork().unwrap();
        let expected = generate(&mut session(&model, text(&model)), few());
        assert_eq!(generate(&mut original, few()), expected, "{name}");
        assert_eq!(generate(&mut again, few()), expected, "{name}");
    }
}

#[test]
fn going_back_leaves_no_trace() {
    for (name, model) in models() {
        let mut changed = session(&model, text(&model));
        let mut expected = session(&model, text(&model));
        if model.config().kind == ModelKind::Opt {
            changed.append("So. ").unwrap();
        } else {
            generate(&mut changed, few());
        }
        let added = changed.len() - 4;
        changed.rewind(added).unwrap();
        assert_eq!(changed.text(), text(&model), "{name}");
        assert_eq!(
            ids(&generate(&mut changed, few())),
            ids(&generate(&mut expected, few())),
            "{name}"
        );
        // Into the middle of a prompt, whose sentences may have seen each other.
        let mut changed = session(&model, text(&model));
        changed.rewind(2).unwrap();
        let end = text(&model).match_indices(". ").nth(1).unwrap().0 + 2;
        let kept = &text(&model)[..end];
        assert_eq!(
            (changed.text().as_str(), changed.len()),
            (kept, 2),
            "{name}"
        );
        assert_eq!(
            ids(&generate(&mut changed, few())),
            ids(&generate(&mut session(&model, kept), few())),
            "{name}"
        );
        changed.rewind(0).unwrap();
        assert!(changed.len() > 2, "{name}");
        changed.rewind(usize::MAX).unwrap();
        assert!(changed.is_empty(), "{name}");
    }
}

#[test]
fn a_full_context_may_lose_its_oldest_sentences() {
    let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
    let limit = model.config().max_sentences.unwrap();
    let options = || few().with_max_sentences(30);
    let mut stopped = session(&model, TEXT);
    let mut generation = stopped.generate(options());
    assert!(generation.by_ref().all(|sentence| sentence.is_ok()));
    assert_eq!(generation.finish_reason(), Some(FinishReason::ContextFull));
    let mut going_on = session(&model, TEXT);
    let mut generation = going_on.generate(options().with_overflow(OverflowPolicy::DropOldest));
    let sentences: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
    assert_eq!(generation.finish_reason(), Some(FinishReason::MaxSentences));
    assert_eq!(sentences.len(), 30);
    assert!(going_on.len() <= limit);
    // In a batch the same.
    let mut batched = [session(&model, TEXT), session(&model, "It is so. ")];
    let batch = batched
        .iter_mut()
        .map(|session| (session, options().with_overflow(OverflowPolicy::DropOldest)));
    let mut found = Vec::new();
    Session::generate_batch(batch, |number, sentence| {
        if number == 0 {
            found.push(sentence);
        }
    })
    .unwrap();
    assert_eq!(ids(&found), ids(&sentences));
    assert_eq!(batched[0].text(), going_on.text());
}

#[test]
fn a_cancelled_continuation_ends_at_once_and_leaves_the_session_usable() {
    for (name, model) in models() {
        let mut cancelled = session(&model, text(&model));
        let handle = CancelHandle::new();
        handle.cancel();
        let mut generation = cancelled.generate(few().with_cancel(handle));
        assert!(generation.next().is_none(), "{name}");
        assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
        let expected = generate(&mut session(&model, text(&model)), few());
        assert_eq!(generate(&mut cancelled, few()), expected, "{name}");
        let mut late = session(&model, text(&model));
        let mut generation = late.generate(few().with_time_limit(Duration::ZERO));
        assert!(generation.next().is_none(), "{name}");
        assert_eq!(generation.finish_reason(), Some(FinishReason::TimeLimit));
        assert_eq!(late.text(), text(&model));
    }
}

#[test]
fn a_continuation_is_cancelled_from_another_thread() {
    let model = stories();
    let handle = CancelHandle::new();
    let options = few()
        .with_max_sentences(usize::MAX)
        .with_overflow(OverflowPolicy::DropOldest)
        .with_cancel(handle.clone());
    let mut session = session(&model, TEXT);
    let generating = thread::spawn(move || {
        let mut generation = session.generate(options);
        assert!(generation.by_ref().all(|sentence| sentence.is_ok()));
        (generation.finish_reason(), Instant::now())
    });
    thread::sleep(Duration::from_millis(300));
    let cancelled = Instant::now();
    handle.cancel();
    let (reason, ended) = generating.join().unwrap();
    assert_eq!(reason, Some(FinishReason::Cancelled));
    // Some milliseconds on a machine that is not busy.
    let waited = ended.saturating_duration_since(cancelled);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    println!("cancelled after {waited:?}");
}

#[test]
fn no_sentence_comes_twice_where_that_is_asked() {
    let model = stories();
    let prompt = "Tom was sad. Tom was sad. Tom was sad. ";
    let eos = model.config().tokens.eos;
    // The tokens of a sentence, and whether it is a whole one.
    let spoken = |sentence: &Sentence| {
        let ids = &sentence.token_ids;
        let text = sentence.text.trim_end_matches(['"', '\'', ' ', '\n']);
        let whole = text.ends_with(['.', '!', '?']);
        (ids.strip_suffix(&[eos]).unwrap_or(ids).to_vec(), whole)
    };
    let many = |avoid| {
        let options = few().with_max_sentences(24).with_avoid_repeats(avoid);
        let sentences = generate(&mut session(&model, prompt), options);
        sentences.iter().map(spoken).collect::<Vec<_>>()
    };
    let repeated = |sentences: &[(Vec<u32>, bool)]| {
        let whole: Vec<_> = sentences.iter().filter(|(_, whole)| *whole).collect();
        (1..whole.len()).any(|place| whole[..place].contains(&whole[place]))
    };
    assert!(!repeated(&many(true)));
    assert!(repeated(&many(false)), "the prompt leads to no repetition");
}

#[test]
fn the_best_of_several_is_likelier_and_the_seed_decides() {
    let model = stories();
    let total = |best_of| {
        let options = |seed| sampled(seed).with_best_of(best_of).unwrap();
        let mut streamed = String::new();
        let mut one = session(&model, TEXT);
        let mut generation = one.generate(options(5));
        let mut said = String::new();
        while let Some(sentence) = generation.next_with(|text| streamed.push_str(text)) {
            said += &sentence.unwrap().text;
        }
        assert_eq!(streamed, said);
        let mut batched = [session(&model, TEXT), session(&model, "It is so. ")];
        let batch = batched.iter_mut().zip([options(5), options(6)]);
        Session::generate_batch(batch, |_, _| {}).unwrap();
        assert_eq!(batched[0].text(), format!("{TEXT}{said}"));
        said
    };
    assert_eq!(total(4), total(4));
    assert_ne!(total(1), total(8));
    assert!(matches!(
        few().with_best_of(0),
        Err(Error::InvalidOption { .. })
    ));
}

#[test]
fn what_a_token_level_model_cannot_do_is_refused() {
    let model = Model::load("tests/golden/bundle-opt", LoadOptions::default()).unwrap();
    for options in [
        few().with_best_of(2).unwrap(),
        few().with_overflow(OverflowPolicy::DropOldest),
        few().with_avoid_repeats(true),
    ] {
        let first = session(&model, SHORT_TEXT).generate(options).next();
        assert!(
            matches!(first, Some(Err(Error::InvalidOption { .. }))),
            "{first:?}"
        );
    }
}

#[test]
fn sentences_are_compared_and_mixed() {
    let model = stories();
    let fox = "The fox was happy. ";
    let same = model.similarity(fox, fox).unwrap();
    assert!((same - 1.0).abs() < 1e-5, "{same}");
    let close = model.similarity(fox, "The fox was very happy. ").unwrap();
    let far = model
        .similarity(fox, "One day, Tim found a red ball. ")
        .unwrap();
    assert!(close > far, "{close}, {far}");
    let way = model.interpolate(fox, "Tim found a ball. ", 5).unwrap();
    assert_eq!((way.len(), way[0].as_str()), (5, fox));
    assert_eq!(way[4], "Tim found a ball. ");
    for steps in [0, 1, 1025, 1 << 40, usize::MAX] {
        let refused = model.interpolate(fox, fox, steps).unwrap_err().to_string();
        assert!(refused.contains("2 to 1024"), "{refused}");
    }
}

/// A cancelled sentence costs a full context nothing.
#[test]
fn a_full_context_keeps_its_sentences_until_there_is_a_new_one() {
    let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
    let mut full = session(&model, TEXT);
    let endless = || few().with_max_sentences(100);
    generate(&mut full, endless());
    let text = full.text();
    let handle = CancelHandle::new();
    let options = endless()
        .with_overflow(OverflowPolicy::DropOldest)
        .with_cancel(handle.clone());
    let mut generation = full.generate(options);
    assert!(generation.next_with(|_| handle.cancel()).is_none());
    assert_eq!(generation.finish_reason(), Some(FinishReason::Cancelled));
    assert_eq!(full.text(), text);
}

#[test]
fn the_oldest_sentences_are_dropped() {
    for (name, model) in models() {
        let mut shorter = session(&model, text(&model));
        shorter.drop_oldest(2).unwrap();
        let start = text(&model).match_indices(". ").nth(1).unwrap().0 + 2;
        let kept = &text(&model)[start..];
        assert_eq!(
            (shorter.text().as_str(), shorter.len()),
            (kept, 2),
            "{name}"
        );
        assert_eq!(
            ids(&generate(&mut shorter, few())),
            ids(&generate(&mut session(&model, kept), few())),
            "{name}"
        );
        shorter.drop_oldest(usize::MAX).unwrap();
        assert!(shorter.is_empty(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_session_is_saved_through_a_link_and_into_a_device() {
    let model = Model::load("tests/golden/bundle", LoadOptions::default()).unwrap();
    let saved = session(&model, TEXT);
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, "old").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    saved.save(&link).unwrap();
    assert!(link.is_symlink());
    assert_eq!(Session::load(&model, &real).unwrap().text(), TEXT);
    saved.save("/dev/null").unwrap();
    let folder = saved.save(folder.path());
    assert!(matches!(folder, Err(Error::Write { .. })), "{folder:?}");
}

/// Penalties, rules against repetition and drawing go on where the continuation before ended.
#[test]
fn a_continuation_in_parts_is_one_in_one_go() {
    let sampling = |seed| {
        let sampling = SamplingOptions::default().with_temperature(1.2).unwrap();
        let sampling = sampling.with_repetition_penalty(1.3).unwrap();
        sampling.with_top_p(0.95).unwrap().with_seed(seed)
    };
    for (name, model) in models() {
        // Where the ids of a generated sentence are not those that are encoded again, what was
        // chosen is known no more.
        if name.contains("original") {
            continue;
        }
        for seed in 0..6 {
            let options = few().with_sampling(sampling(seed));
            let whole = generate(&mut session(&model, text(&model)), options.clone());
            let mut parts = session(&model, text(&model));
            let one = options.with_max_sentences(1);
            let parts: Vec<Sentence> = (0..3)
                .flat_map(|_| generate(&mut parts, one.clone()))
                .collect();
            assert_eq!(ids(&parts), ids(&whole), "{name}, seed {seed}");
        }
    }
}

#[test]
fn tokens_are_limited() {
    for (name, model) in models() {
        let many = few().with_max_sentences(6);
        let whole = generate(&mut session(&model, text(&model)), many.clone());
        let all: Vec<u32> = ids(&whole).concat();
        for limit in [0, 1, 2, 5, 9, 14] {
            let mut limited = session(&model, text(&model));
            let mut generation = limited.generate(many.clone().with_max_tokens(Some(limit)));
            let found: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
            let found_ids = ids(&found).concat();
            let name = format!("{name}, {limit}");
            assert!(found_ids.len() <= limit, "{name}");
            assert_eq!(found_ids, all[..found_ids.len()], "{name}");
            if all.len() > limit {
                assert_eq!(
                    generation.finish_reason(),
                    Some(FinishReason::MaxTokens),
                    "{name}"
                );
            }
            let said: String = found
                .iter()
                .map(|sentence| sentence.text.as_str())
                .collect();
            assert!(
                limited.text().trim_end().ends_with(said.trim_end()),
                "{name}"
            );
        }
    }
}

#[test]
fn log_probabilities_are_those_of_the_chosen_tokens() {
    for (name, model) in models() {
        let plain = generate(&mut session(&model, text(&model)), few());
        let options = few().with_log_probabilities(true);
        let found = generate(&mut session(&model, text(&model)), options);
        assert_eq!(ids(&found), ids(&plain), "{name}");
        for sentence in &found {
            let logs = sentence.log_probabilities.as_ref().unwrap();
            assert_eq!(logs.len(), sentence.token_ids.len(), "{name}");
            // The best of at most 50,272 tokens, when decoded greedily.
            let possible = |&log: &f32| (-11.0..=0.0).contains(&log);
            assert!(logs.iter().all(possible), "{name}: {logs:?}");
        }
        assert!(plain[0].log_probabilities.is_none(), "{name}");
    }
}

#[test]
fn a_hook_changes_logits() {
    for (name, model) in models() {
        let plain = generate(&mut session(&model, text(&model)), few());
        let unwanted = plain[0].token_ids[0];
        let masks = LogitsHook::new(move |_, logits: &mut Logits| logits.mask(unwanted));
        let changed = few().with_logits_hook(masks);
        let found = generate(&mut session(&model, text(&model)), changed);
        assert!(!ids(&found).concat().contains(&unwanted), "{name}");
        let breaks = LogitsHook::new(|_, logits: &mut Logits| {
            let id = logits.best_token().0;
            *logits.logit_mut(id).unwrap() = f32::NAN;
        });
        let mut broken = session(&model, text(&model));
        let error = broken.generate(few().with_logits_hook(breaks)).next();
        let Some(Err(error)) = error else {
            panic!("{name}: NaN is not refused");
        };
        assert!(error.to_string().contains("logits hook"), "{name}: {error}");
        assert_eq!(broken.text(), text(&model), "{name}");
    }
}

#[test]
fn a_continuation_may_own_its_session() {
    for (name, model) in models() {
        let mut borrowed = session(&model, text(&model));
        let mut generation = borrowed.generate(few());
        let expected: Vec<_> = generation.by_ref().map(Result::unwrap).collect();
        let reason = generation.finish_reason();
        let mut owned = session(&model, text(&model))
            .into_generation(few())
            .unwrap();
        assert_eq!(owned.next().unwrap().unwrap(), expected[0], "{name}");
        let rest = std::thread::spawn(move || {
            let rest: Vec<_> = owned.by_ref().map(Result::unwrap).collect();
            assert_eq!(owned.finish_reason(), reason);
            (rest, owned.into_session().unwrap().text())
        });
        let (rest, whole) = rest.join().unwrap();
        assert_eq!(rest, expected[1..], "{name}");
        assert_eq!(whole, borrowed.text(), "{name}");
        // Ended in the middle.
        let mut owned = session(&model, text(&model))
            .into_generation(few())
            .unwrap();
        owned.next().unwrap().unwrap();
        let ended = owned.into_session().unwrap();
        assert!(
            borrowed.text().starts_with(ended.text().trim_end()),
            "{name}"
        );
    }
    let model = stories();
    let empty = model
        .session()
        .unwrap()
        .into_generation(few())
        .unwrap()
        .next();
    assert!(matches!(empty, Some(Err(Error::EmptyContext))), "{empty:?}");
}

/// A callback may use other sessions of the same model.
#[test]
fn a_callback_may_generate() {
    for (name, model) in models() {
        let mut outer = session(&model, text(&model));
        let mut inner = session(&model, text(&model));
        let mut generation = outer.generate(few());
        let mut said = Vec::new();
        while let Some(sentence) = generation.next_with(|_| {
            if inner.len() < 6 {
                generate(&mut inner, few().with_max_sentences(1));
            }
        }) {
            said.push(sentence.unwrap());
        }
        let expected = generate(&mut session(&model, text(&model)), few());
        assert_eq!(ids(&said), ids(&expected), "{name}");
    }
}
