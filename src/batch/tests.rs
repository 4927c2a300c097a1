//! Graph runs that fail, in any place: each context holds what it held, and can be continued.

use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::*;
use crate::{LoadOptions, OverflowPolicy, runtime::Graph};

const SENTENCES: usize = 4;

fn load(bundle: &str) -> Model {
    let options = LoadOptions::default().with_variant("portable");
    Model::load(format!("tests/golden/{bundle}"), options).unwrap()
}

fn graphs(model: &Model) -> Vec<&Graph> {
    match model.network() {
        Network::Sentences(model) => vec![
            model.autoencoder.encoder.graph(),
            model.backbone.cached().graph(),
            model.autoencoder.decoder.cached().graph(),
        ],
        Network::Tokens(model) => vec![model.graph.cached().graph()],
        Network::Autoencoder(_) => Vec::new(),
    }
}

fn prompts(model: &Model) -> [&'static str; 3] {
    match model.network() {
        Network::Tokens(_) => ["A cat. ", "It is so. ", "He ran. She sat. "],
        // The first one is full before it is over.
        _ => [
            "One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten. ",
            "It is so. ",
            "The cat sat on the hill. She ran. ",
        ],
    }
}

fn sessions(model: &Model) -> Vec<Session> {
    let session = |prompt: &str| {
        let mut session = model.session().unwrap();
        session.append(prompt).unwrap();
        session
    };
    prompts(model).map(session).into()
}

fn options(model: &Model) -> GenerateOptions {
    let options = GenerateOptions::default()
        .with_ignore_eos(true)
        .with_max_sentences(SENTENCES);
    match model.network() {
        Network::Tokens(_) => options,
        _ => options.with_overflow(OverflowPolicy::DropOldest),
    }
}

/// Continue until `sentences` were generated in all; returns their texts.
fn rest(session: &mut Session, options: GenerateOptions, sentences: usize) -> Vec<String> {
    let options = options.with_max_sentences(sentences);
    let texts = session.generate(options).map(|s| s.unwrap().text);
    texts.collect()
}

fn expected(model: &Model) -> Vec<Vec<String>> {
    let options = options(model);
    let all = |session: &mut Session| rest(session, options.clone(), SENTENCES);
    sessions(model).iter_mut().map(all).collect()
}

#[test]
fn a_failing_run_costs_one_context_at_most_its_sentence() {
    for bundle in ["bundle", "bundle-original", "bundle-opt"] {
        let model = load(bundle);
        let expected = expected(&model);
        for (number, graph) in graphs(&model).into_iter().enumerate() {
            let mut failures = 0;
            for runs in 0.. {
                let mut found: Vec<Vec<String>> = vec![Vec::new(); expected.len()];
                let mut all = sessions(&model);
                let batch = all.iter_mut().map(|session| (session, options(&model)));
                graph.fail_after(runs);
                let result = Session::generate_batch(batch, |row, sentence| {
                    found[row].push(sentence.text);
                });
                graph.fail_after(-1);
                let name = format!("{bundle}, graph {number}, run {runs}");
                for (row, session) in all.iter_mut().enumerate() {
                    let begun = found[row].len();
                    assert_eq!(found[row], expected[row][..begun], "{name}, row {row}");
                    let more = rest(session, options(&model), SENTENCES - begun);
                    assert_eq!(more, expected[row][begun..], "{name}, row {row}");
                }
                match result {
                    Ok(_) => break,
                    Err(error) => {
                        let Error::BatchRow { row, .. } = error else {
                            panic!("{error:?}");
                        };
                        assert!(found[row].len() < SENTENCES, "{name}");
                        failures += 1;
                    }
                }
            }
            // A run of the backbone or the encoder for several rows is repeated for each alone.
            println!("{bundle}, graph {number}: {failures} failing runs");
        }
    }
}

#[test]
fn a_failing_run_costs_a_single_context_nothing() {
    for bundle in ["bundle", "bundle-original", "bundle-opt"] {
        let model = load(bundle);
        let expected = expected(&model);
        for graph in graphs(&model) {
            let mut failed = 0;
            for runs in 0.. {
                let mut session = sessions(&model).swap_remove(0);
                graph.fail_after(runs);
                let mut generation = session.generate(options(&model));
                let mut found: Vec<_> = generation.by_ref().collect();
                let reason = generation.finish_reason();
                graph.fail_after(-1);
                let error = found.pop_if(|last| last.is_err());
                let mut found: Vec<_> = found.into_iter().map(|s| s.unwrap().text).collect();
                assert_eq!(error.is_none(), reason.is_some());
                let missing = SENTENCES - found.len();
                found.extend(rest(&mut session, options(&model), missing));
                assert_eq!(found, expected[0], "{bundle}, {runs}");
                if error.is_none() {
                    break;
                }
                failed += 1;
            }
            assert!(failed > 0, "{bundle}");
        }
    }
}

#[test]
fn failing_operations_leave_the_context_as_it_was() {
    type Operation = fn(&mut Session) -> Result<()>;
    let operations: [(&str, Operation); 4] = [
        ("append", |session| {
            session.append("He ran. So. ").map(|_| ())
        }),
        ("rewind", |session| session.rewind(1)),
        ("drop_oldest", |session| session.drop_oldest(1)),
        ("fork", |session| session.fork().map(|_| ())),
    ];
    for bundle in ["bundle", "bundle-original", "bundle-opt"] {
        let model = load(bundle);
        for graph in graphs(&model) {
            for (name, operation) in operations {
                for runs in 0..3 {
                    let session = || {
                        let mut session = model.session().unwrap();
                        session.append("A cat. It is. ").unwrap();
                        session
                    };
                    let expected = rest(&mut session(), options(&model), 2);
                    let mut changed = session();
                    let text = changed.text();
                    graph.fail_after(runs);
                    let result = operation(&mut changed);
                    graph.fail_after(-1);
                    if result.is_err() {
                        assert_eq!(changed.text(), text, "{bundle}, {name}");
                        let found = rest(&mut changed, options(&model), 2);
                        assert_eq!(found, expected, "{bundle}, {name}, {runs}");
                    }
                }
            }
        }
    }
}

/// Cancelled between runs of a prompt, the context is what it was.
#[test]
fn a_prompt_can_be_cancelled() {
    let model = load("bundle");
    let cancel = crate::CancelHandle::new();
    let mut session = sessions(&model).swap_remove(1);
    let text = session.text();
    cancel.cancel();
    let cancelled = session.append_cancellable("He ran. ", &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    assert_eq!(session.text(), text);
}

/// A prompt in short runs, with something between them, is the prompt in one; broken off, or with a
/// panic between its runs, it is as if it had never been.
#[test]
fn a_prompt_in_runs_is_the_prompt_at_once() {
    let text = "He ran. So. A cat. It is. ";
    for bundle in ["bundle", "bundle-original", "bundle-opt"] {
        let model = load(bundle);
        let whole = || {
            let mut session = model.session().unwrap();
            session.append("A cat. ").unwrap();
            session
        };
        let held = rest(&mut whole(), options(&model), 2);
        let mut session = whole();
        session.append(text).unwrap();
        let expected = rest(&mut session, options(&model), 2);
        let mut session = whole();
        let mut runs = 0;
        let appended = session.append_with(text, |progress| {
            assert!(progress.remaining() > 0);
            runs += 1;
            ControlFlow::Continue(1)
        });
        assert_eq!(appended.unwrap().sentences, 4, "{bundle}");
        assert_eq!(runs > 1, bundle != "bundle-original", "{bundle}: {runs}");
        assert_eq!(rest(&mut session, options(&model), 2), expected, "{bundle}");
        for panics in [false, true] {
            let mut session = whole();
            let broken = catch_unwind(AssertUnwindSafe(|| {
                session.append_with(text, |progress| match progress.done {
                    0 => ControlFlow::Continue(1),
                    _ if panics => panic!("between the runs"),
                    _ => ControlFlow::Break(()),
                })
            }));
            if bundle == "bundle-original" {
                assert!(broken.unwrap().is_ok());
                continue;
            }
            assert_eq!(broken.is_err(), panics);
            assert!(panics || matches!(broken.unwrap(), Err(Error::Cancelled)));
            assert_eq!(session.text(), "A cat. ", "{bundle}");
            assert_eq!(rest(&mut session, options(&model), 2), held, "{bundle}");
        }
    }
}

#[test]
fn a_text_in_pieces_is_the_text_at_once() {
    let text = "One, two. \"Three!\" he said... Mr. Four.\nFive six";
    for bundle in ["bundle", "bundle-opt", "../../models/sllm-stories"] {
        let options = LoadOptions::default().with_variant("portable");
        let model = Model::load(format!("tests/golden/{bundle}"), options).unwrap();
        let text = match model.network() {
            Network::Tokens(_) => "A cat. It is. So.",
            _ => text,
        };
        let mut whole = model.session().unwrap();
        let appended = whole.append(text).unwrap();
        for size in [1, 2, 3, 5, 8, 13, 100] {
            let mut session = model.session().unwrap();
            let mut appender = session.appender();
            for piece in text.as_bytes().chunks(size) {
                appender.push(std::str::from_utf8(piece).unwrap()).unwrap();
            }
            assert_eq!(appender.finish().unwrap(), appended, "{bundle}, {size}");
            assert_eq!(session.text(), whole.text(), "{bundle}, {size}");
            let texts: Vec<&str> = whole.sentences().collect();
            assert_eq!(session.sentences().collect::<Vec<_>>(), texts);
            assert_eq!(session.tokens(), whole.tokens(), "{bundle}, {size}");
        }
    }
}
