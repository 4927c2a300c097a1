//! `doctor`: check the installation and every execution provider.

mod text;

use std::{path::Path, thread};

use clap::Args;
use serde_json::{Map, Value, json};
use sllm_ort::{
    Error, LoadOptions, MatMulKernel, Model, Provider,
    bundle::{Bundle, BundleFile, GraphFile},
    config::ModelKind,
    error::RuntimeError,
};

use super::{ModelArgs, models, output};

/// A sentence for a first run.
const SENTENCE: &str = "the cat. ";

#[derive(Args, Debug)]
pub struct DoctorArgs {
    #[command(flatten)]
    model: ModelArgs,
}

/// Print the findings; returns whether the bundle can be run.
pub fn run(args: &DoctorArgs, verbose: bool) -> anyhow::Result<bool> {
    let options = args.model.load.options()?;
    let mut findings = Map::new();
    findings.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    if let Ok(processors) = thread::available_parallelism() {
        findings.insert("processors".into(), processors.get().into());
    }
    let library = args.model.load.runtime.find();
    let library_works = library.is_ok();
    let library = match library {
        Ok(library) => json!({
            "path": library.path.display().to_string(),
            "version": library.version,
            "build": library.build,
        }),
        Err(error) => json!({"problem": output::with_cause(&error)}),
    };
    findings.insert("onnxruntime".into(), library);

    let works = match models::open(args.model.bundle.model.as_deref()) {
        Err(error) => {
            findings.insert("model".into(), json!({"problem": format!("{error:#}")}));
            false
        }
        Ok(bundle) => {
            findings.insert("model".into(), describe(&bundle));
            library_works && try_providers(&bundle, &options, &mut findings)
        }
    };
    findings.insert("works".into(), works.into());
    let findings = Value::Object(findings);
    if args.model.is_json() {
        output::json(&findings)?;
    } else if verbose {
        output::fields(&findings)?;
    } else {
        for line in text::lines(&findings) {
            output::line(&line)?;
        }
    }
    Ok(works)
}

/// The bundle, and which of its files are not what the manifest promises.
fn describe(bundle: &Bundle) -> Value {
    let check = |graph: &GraphFile| graph.verify_external_data(&graph.read_verified()?);
    let graphs = bundle.variants.iter().flat_map(|v| v.graphs.values());
    let checks = graphs
        .map(check)
        .chain([bundle.tokenizer.verify()])
        .chain(bundle.chat_template.iter().map(BundleFile::verify));
    let problems: Vec<String> = checks
        .filter_map(Result::err)
        .map(|e| output::with_cause(&e))
        .collect();
    let variants: Vec<&str> = bundle.variants.iter().map(|v| v.name.as_str()).collect();
    let mut model = json!({
        "path": absolute(&bundle.dir),
        "name": bundle.config.name,
        "variants": variants,
        "files_intact": problems.is_empty(),
    });
    if !problems.is_empty() {
        model["problems"] = problems.into();
    }
    model
}

/// Try each provider on the smallest graph, then the whole model as the options say.
fn try_providers(
    bundle: &Bundle,
    options: &LoadOptions,
    findings: &mut Map<String, Value>,
) -> bool {
    let tried = Provider::ALL.map(|provider| {
        let tried = Model::try_provider(bundle, provider, options);
        let offered = !matches!(
            tried,
            Err(Error::Runtime(RuntimeError::ProviderMissing { .. }))
        );
        let mut found = json!({
            "name": provider.name(),
            "offered": offered,
            "starts": tried.is_ok(),
        });
        match tried {
            Ok(variant) => found["variant"] = variant.into(),
            Err(error) => found["problem"] = output::with_cause(&error).into(),
        }
        found
    });
    findings.insert("providers".into(), tried.to_vec().into());
    let run = Model::load(&bundle.dir, options.clone()).and_then(|model| {
        run_once(&model)?;
        Ok(model)
    });
    let works = run.is_ok();
    let run = match run {
        Ok(model) => json!({
            "variant": model.variant(),
            "provider": model.provider().name(),
            "threads": model.threads(),
            "spin_micros": model.spinning().as_micros() as u64,
            "matmul_kernel": model.matmul_kernel().map(MatMulKernel::name),
            "warnings": model.warnings(),
        }),
        Err(error) => json!({"problem": output::with_cause(&error)}),
    };
    findings.insert("run".into(), run);
    works
}

/// Run the graphs that read a sentence, and those that continue it.
fn run_once(model: &Model) -> sllm_ort::Result<()> {
    if model.config().kind == ModelKind::Svae {
        let vector = model.encode(&[SENTENCE])?;
        return model.decode(vector.row(0)).map(|_| ());
    }
    let mut session = model.session()?;
    session.append(SENTENCE)?;
    let options = sllm_ort::GenerateOptions::default()
        .with_ignore_eos(true)
        .with_max_sentences(1);
    session
        .generate(options)
        .try_for_each(|next| next.map(|_| ()))
}

fn absolute(path: &Path) -> String {
    let absolute = path.canonicalize();
    absolute.as_deref().unwrap_or(path).display().to_string()
}
