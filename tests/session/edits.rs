//! Forks, going back, dropping, saving.

use sllm_ort::{Error, LoadOptions, Model, Session, config::ModelKind};

use super::{TEXT, few, generate, ids, models, session, stories, text};

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
