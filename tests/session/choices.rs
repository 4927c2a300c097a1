//! How tokens and sentences are chosen.

use sllm_ort::{
    Error, LoadOptions, Logits, LogitsHook, Model, OverflowPolicy, SamplingOptions, Sentence,
    Session, config::ModelKind,
};

use super::{SHORT_TEXT, TEXT, few, generate, ids, models, sampled, session, stories, text};

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

/// Tokens that are verified in one run are those that are decoded one by one.
#[test]
fn a_reconstruction_is_what_decoding_gives() {
    for (name, model) in models() {
        if model.config().kind == ModelKind::Opt {
            continue;
        }
        let text = format!("{TEXT}Zyx wv! A {} b. ", "very ".repeat(40));
        let sentences = model.text_pipeline().sentences(&text).unwrap();
        let sentences: Vec<_> = sentences.map(Result::unwrap).collect();
        let vectors = model.encode_sentences(&sentences).unwrap();
        let decoded = model.decode_vectors(vectors.view()).unwrap();
        let found = model.reconstruct(&sentences).unwrap();
        assert_eq!(found.len(), decoded.len());
        for (found, (_, ids)) in found.iter().zip(&decoded) {
            assert_eq!(&found.output_ids, ids, "{name}, {:?}", found.input);
        }
    }
}

/// Penalties, rules against repetition and drawing go on where the continuation before ended.
#[test]
fn a_continuation_in_parts_is_one_in_one_go() {
    let sampling = |seed| {
        let sampling = SamplingOptions::default().with_temperature(1.2).unwrap();
        let sampling = sampling.with_repetition_penalty(1.3).unwrap();
        let sampling = sampling.with_dry_multiplier(0.8).unwrap();
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
