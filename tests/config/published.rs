//! The configurations in `configs`, and the parameters of the paper's.

use sllm_ort::config::ModelConfig;

/// Every configuration that is in the repository.
#[test]
fn configs() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let config = ModelConfig::from_file(&path).unwrap();
            assert_eq!(
                path.file_stem().unwrap().to_str(),
                Some(config.name.as_str())
            );
            count += 1;
        }
    }
    assert!(count >= 21, "{count}");
}

/// The table of arXiv 2408.00655, in millions, and the digit to which it is rounded.
#[test]
fn parameters_are_those_of_the_paper() {
    for (name, millions, digit) in [
        ("sllm-125m-h1", 214, 1),
        ("sllm-125m-h2", 226, 1),
        ("sllm-125m-h4", 250, 1),
        ("sllm-350m-h1", 429, 1),
        ("sllm-350m-h2", 450, 1),
        ("sllm-350m-h4", 492, 1),
        ("sllm-1.3b-h1", 1610, 10),
        ("sllm-1.3b-h2", 1690, 10),
    ] {
        let config = ModelConfig::from_file(format!("configs/{name}.json")).unwrap();
        let found = config.parameters();
        assert_eq!(found.total, found.encoder + found.backbone + found.decoder);
        let unit = digit * 1_000_000;
        assert_eq!((found.total + unit / 2) / unit * digit, millions, "{name}");
    }
    // By hand, with D = 768, V = 50272: embeddings V D, a layer of the encoder 4 (D D + D) + 2 D F +
    // F + D + 4 D, its norm 2 D; the decoder has another attention and norm, and V (D + 1).
    let config = ModelConfig::from_file("configs/sllm-125m-h1.json").unwrap();
    let found = config.parameters();
    let parts = [found.encoder, found.backbone, found.decoder];
    assert_eq!(parts, [43_337_472, 86_630_402, 84_359_008]);
}
