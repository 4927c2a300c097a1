//! The graphs and the loop against what PyTorch computed for the tiny models in `tests/golden`.
//! Hidden states and logits are not public: the exporter's tests compare those.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;
use sllm_ort::{
    GenerateOptions, LoadOptions, Model, Provider, ProviderChoice, Session, text::Tail,
};
use support::{copy_bundle, edit_manifest};

/// Bundle, expected numbers and variants of the models with sentences.
const MODELS: [(&str, &str, &[&str]); 11] = [
    ("bundle", "tiny-causal", &VARIANTS),
    ("bundle-slots", "tiny-slots", &VARIANTS),
    ("bundle-context-bias", "tiny-context-bias", &VARIANTS),
    ("bundle-original", "tiny-original", &VARIANTS),
    ("bundle-125m", "tiny-125m", &VARIANTS),
    ("bundle-125m-add", "tiny-125m-add", &VARIANTS),
    ("bundle-350m", "tiny-350m", &VARIANTS),
    ("bundle-svae", "tiny-svae", &VARIANTS),
    ("bundle-fast", "tiny-causal", &["cpu-int8"]),
    ("bundle-half", "tiny-causal", &["cuda-fp16"]),
    ("bundle-original-half", "tiny-original", &["cuda-fp16"]),
];
const VARIANTS: [&str; 2] = ["portable", "cpu-int8"];

struct Golden {
    model: Model,
    expected: Value,
    name: String,
    /// Whether the variant is the fp32 one, whose numbers must agree, not only the ids.
    exact: bool,
}

/// The models that generate: all but the one without a backbone.
fn generating() -> Vec<Golden> {
    let mut all = all();
    all.retain(|golden| golden.expected["generation"].is_object());
    let models = MODELS
        .iter()
        .filter(|(bundle, ..)| *bundle != "bundle-svae");
    assert_eq!(
        all.len(),
        models.map(|(.., variants)| variants.len()).sum::<usize>()
    );
    all
}

fn all() -> Vec<Golden> {
    let mut all = Vec::new();
    for (bundle, folder, variants) in MODELS {
        let expected = std::fs::read(format!("tests/golden/{folder}/expected.json")).unwrap();
        let expected: Value = serde_json::from_slice(&expected).unwrap();
        for &variant in variants {
            // The processor runs what was made for others too.
            let options = LoadOptions::default()
                .with_provider(ProviderChoice::Only(Provider::Cpu))
                .with_variant(variant);
            all.push(Golden {
                model: Model::load(format!("tests/golden/{bundle}"), options).unwrap(),
                expected: expected.clone(),
                name: format!("{folder} {variant}"),
                exact: variant == "portable",
            });
        }
    }
    all
}

impl Golden {
    fn texts(&self) -> Vec<String> {
        serde_json::from_value(self.expected["texts"].clone()).unwrap()
    }

    /// Whether the model's bundle drops the end of a text that no mark ends.
    fn drops_tail(&self) -> bool {
        self.model.bundle().segmentation.tail == Tail::Drop
    }

    fn assert_close(&self, found: f64, expected: &Value, what: &str) {
        let expected = expected.as_f64().unwrap();
        let tolerance = self.expected["tolerance"].as_f64().unwrap();
        let allowed = tolerance * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= allowed,
            "{}: {what}: {found} for {expected}",
            self.name
        );
    }

    fn prompted(&self) -> Session {
        self.session_of(&self.texts())
    }

    /// A session whose context is these sentences, with a tail that the original loses.
    fn session_of(&self, texts: &[String]) -> Session {
        let mut session = self.model.session().unwrap();
        let tail = if self.drops_tail() { "and so" } else { "" };
        let appended = session.append(&(texts.concat() + tail)).unwrap();
        assert_eq!(appended.sentences, texts.len(), "{}", self.name);
        assert_eq!(appended.dropped, tail, "{}", self.name);
        session
    }

    fn options(&self) -> GenerateOptions {
        let most = self.expected["generation"]["max_new_sentences"]
            .as_u64()
            .unwrap();
        GenerateOptions::default().with_max_sentences(most as usize)
    }

    /// Continues `session` and compares ids, stop probabilities and the reason of the end.
    fn assert_generates(&self, mut session: Session, expected: &Value) {
        let mut generation = session.generate(self.options());
        for expected in expected["sentences"].as_array().unwrap() {
            let found = generation.next().unwrap().unwrap();
            assert_eq!(
                found.token_ids,
                ids(&expected["token_ids"]),
                "{}",
                self.name
            );
            if self.exact {
                let probability = f64::from(found.stop_probability);
                self.assert_close(
                    probability,
                    &expected["stop_probability"],
                    "stop_probability",
                );
            }
        }
        assert!(generation.next().is_none(), "{}", self.name);
        let reason = generation.finish_reason().unwrap().as_str();
        assert_eq!(reason, expected["finish_reason"], "{}", self.name);
    }
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn sentence_vectors() {
    for golden in all().iter().filter(|golden| golden.exact) {
        let vectors = golden.model.encode(&golden.texts()).unwrap();
        let expected = golden.expected["encoder"]["sentence_embedding"]
            .as_array()
            .unwrap();
        assert_eq!(vectors.nrows(), expected.len());
        for (row, expected) in vectors.outer_iter().zip(expected) {
            for (number, expected) in row.iter().zip(expected.as_array().unwrap()) {
                golden.assert_close(f64::from(*number), expected, "sentence_embedding");
            }
        }
    }
}

#[test]
fn reconstruction() {
    for golden in all() {
        let texts = golden.texts();
        let pipeline = golden.model.text_pipeline();
        let sentences: Vec<_> = texts
            .iter()
            .flat_map(|text| pipeline.one_sentence(text).unwrap())
            .collect::<Result<_, _>>()
            .unwrap();
        let found = golden.model.reconstruct(&sentences).unwrap();
        let expected = golden.expected["reconstruction"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{}", golden.name);
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found.output_ids, ids(expected), "{}", golden.name);
        }
    }
}

#[test]
fn generation() {
    for golden in generating() {
        golden.assert_generates(golden.prompted(), &golden.expected["generation"]);
    }
}

/// As the original's code has it where a configuration does not say otherwise: what was generated
/// enters the context as nothing at all. Greedy choices are close there, so only fp32 is compared.
#[test]
fn generated_sentences_without_a_mask() {
    let folder = tempfile::tempdir().unwrap();
    for (bundle, name) in [("bundle-125m", "tiny-125m"), ("bundle-350m", "tiny-350m")] {
        let unmasked = folder.path().join(bundle);
        copy_bundle(&format!("tests/golden/{bundle}"), &unmasked);
        edit_manifest(&unmasked, |manifest| {
            let model = manifest["model"].as_object_mut().unwrap();
            model.remove("reencode_mask").unwrap();
        });
        let expected = std::fs::read(format!("tests/golden/{name}/expected.json")).unwrap();
        let golden = Golden {
            model: Model::load(&unmasked, LoadOptions::default().with_variant("portable")).unwrap(),
            expected: serde_json::from_slice(&expected).unwrap(),
            name: format!("{name} without a mask"),
            exact: true,
        };
        let expected = &golden.expected["unmasked_generation"];
        assert_ne!(
            expected["sentences"],
            golden.expected["generation"]["sentences"]
        );
        golden.assert_generates(golden.prompted(), expected);
        // A saved session goes on in the same way.
        let path = folder.path().join("session");
        let mut session = golden.prompted();
        let one = GenerateOptions::default().with_max_sentences(1);
        session.generate(one).next().unwrap().unwrap();
        session.save(&path).unwrap();
        let next = |session: &mut Session| session.generate(golden.options()).next();
        let mut loaded = Session::load(&golden.model, &path).unwrap();
        let ids =
            |next: Option<sllm_ort::Result<sllm_ort::Sentence>>| next.map(|s| s.unwrap().token_ids);
        assert_eq!(ids(next(&mut loaded)), ids(next(&mut session)));
    }
}

/// The stop head is asked before the first new sentence too: nothing follows the whole text.
#[test]
fn generation_after_the_end() {
    let mut ended = 0;
    for golden in generating() {
        let expected = &golden.expected["ended"];
        if expected.is_null() {
            continue;
        }
        let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
        golden.assert_generates(golden.session_of(&texts), &expected["generation"]);
        ended += 1;
    }
    assert_eq!(ended, 4 * VARIANTS.len());
}

#[test]
fn long_sentences_are_truncated() {
    let truncated = |golden: &Golden| {
        let mut session = golden.model.session().unwrap();
        session.append(&golden.texts().concat()).unwrap().truncated
    };
    for golden in generating() {
        let expected = usize::from(golden.name.starts_with("tiny-125m "));
        assert_eq!(truncated(&golden), expected, "{}", golden.name);
    }
}

#[test]
fn a_model_without_backbone_has_no_session() {
    for golden in all() {
        let generates = golden.expected["generation"].is_object();
        assert_eq!(golden.model.session().is_ok(), generates, "{}", golden.name);
    }
}

/// A session that is saved after each sentence and loaded again computes all caches anew.
#[test]
fn caches_equal_recomputing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("session.json");
    for golden in generating() {
        let options = || golden.options().with_ignore_eos(true).with_max_sentences(1);
        let mut cached = golden.prompted();
        let mut recomputed = golden.prompted();
        let room = golden.model.config().max_sentences.unwrap() - cached.len();
        for _ in 0..room.min(6) {
            recomputed.save(&path).unwrap();
            recomputed = Session::load(&golden.model, &path).unwrap();
            let one = cached.generate(options()).next().unwrap().unwrap();
            let other = recomputed.generate(options()).next().unwrap().unwrap();
            assert_eq!(one.token_ids, other.token_ids, "{}", golden.name);
            let difference = (one.stop_probability - other.stop_probability).abs();
            assert!(difference < 1e-4, "{}: {difference}", golden.name);
        }
        assert_eq!(cached.text(), recomputed.text());
    }
}

#[test]
fn a_context_is_filled_and_cleared() {
    let golden = &all()[0];
    let mut session = golden.prompted();
    let empty = session.memory_bytes();
    let endless = || {
        GenerateOptions::default()
            .with_ignore_eos(true)
            .with_max_sentences(100)
    };
    let mut generation = session.generate(endless());
    let first: Vec<_> = generation
        .by_ref()
        .map(|sentence| sentence.unwrap().token_ids)
        .collect();
    assert_eq!(generation.finish_reason().unwrap().as_str(), "context_full");
    assert_eq!(session.len(), 12);
    assert!(matches!(
        session.append("One more. "),
        Err(sllm_ort::Error::ContextFull {
            held: 12,
            limit: 12,
            ..
        })
    ));
    assert!(session.memory_bytes() >= empty);
    session.clear().unwrap();
    assert!(session.is_empty());
    session.append(&golden.texts().concat()).unwrap();
    let again: Vec<_> = session
        .generate(endless())
        .map(|sentence| sentence.unwrap().token_ids)
        .collect();
    assert_eq!(first, again);
}

/// Caches are as wide as the numbers that the graph keeps in them.
#[test]
fn half_precision_takes_half_of_the_memory() {
    let all = all();
    let bytes = |name: &str| {
        let golden = all.iter().find(|golden| golden.name == name).unwrap();
        golden.prompted().memory_bytes()
    };
    let half = bytes("tiny-causal cuda-fp16");
    assert!(half > 0);
    assert_eq!(2 * half, bytes("tiny-causal cpu-int8"));
}

#[test]
fn one_model_serves_several_threads() {
    let golden = &all()[1];
    let run = || {
        let mut session = golden.prompted();
        let sentences = session.generate(golden.options());
        sentences
            .map(|sentence| sentence.unwrap().token_ids)
            .collect::<Vec<_>>()
    };
    let alone = run();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), alone);
        }
    });
}
