//! Gathers what the other benchmarks found into `docs/speed`: one JSON file and drawings.
//!
//! Reads what criterion left, and the lines of `sllm-ort bench` in `target/bench`.

#[path = "../src/plot.rs"]
#[allow(dead_code, reason = "its tests run with the library")]
mod plot;

use std::{collections::BTreeMap, error::Error, fs, path::Path, thread};

use plot::Bars;
use serde_json::{Value, json};
use sllm_ort::library_info;

const CRITERION: &str = "target/criterion";
const LINES: &str = "target/bench";
const FIGURES: &str = "docs/speed";

type Found<T> = Result<T, Box<dyn Error>>;

fn main() -> Found<()> {
    let parts = parts(Path::new(CRITERION))?;
    let generation = lines(Path::new(LINES))?;
    if parts.is_empty() || generation.is_empty() {
        return Err(format!("{CRITERION} or {LINES} is empty: run `make bench`").into());
    }
    fs::create_dir_all(FIGURES)?;
    let figures = json!({ "machine": machine()?, "parts": parts, "generation": generation });
    let text = serde_json::to_string_pretty(&figures)? + "\n";
    fs::write(format!("{FIGURES}/figures.json"), text)?;
    draw("generation", &generation_bars(&generation))?;
    draw("parts", &part_bars(&parts))
}

/// Group and name of each of criterion's benchmarks, with the median of its times.
fn parts(folder: &Path) -> Found<BTreeMap<String, Value>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let estimates = path.join("new/estimates.json");
        if estimates.is_file() {
            let benchmark: Value = read(&path.join("new/benchmark.json"))?;
            let median = &read(&estimates)?["median"];
            let ms = |value: &Value| value.as_f64().unwrap_or(f64::NAN) / 1e6;
            let interval = &median["confidence_interval"];
            let each = benchmark["throughput"].as_object();
            let name = benchmark["full_id"].as_str().unwrap_or_default().to_owned();
            let figures = json!({
                "median_ms": ms(&median["point_estimate"]),
                "confidence_interval_95_ms": [ms(&interval["lower_bound"]), ms(&interval["upper_bound"])],
                "of": each,
            });
            found.insert(name, figures);
        } else if path.is_dir() && path.file_name().is_some_and(|name| name != "report") {
            found.extend(parts(&path)?);
        }
    }
    Ok(found)
}

/// What `sllm-ort bench` printed, in the order of the files' names.
fn lines(folder: &Path) -> Found<Vec<Value>> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Found<Value> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

fn machine() -> Found<Value> {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processors.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim().to_owned())
    });
    // Loads the library, whose version is asked for.
    sllm_ort::Model::load("models/sllm-stories", sllm_ort::LoadOptions::default())?;
    Ok(json!({
        "processor": name,
        "processors": thread::available_parallelism()?.get(),
        "onnxruntime": library_info().map(|library| library.build),
        "sllm-ort": env!("CARGO_PKG_VERSION"),
    }))
}

fn generation_bars(lines: &[Value]) -> Vec<(String, f64)> {
    let bar = |line: &Value| {
        let label = format!(
            "{} {} × {}",
            text(line, "model"),
            text(line, "variant"),
            line["batch"]
        );
        Some((label, line["output_tokens_per_second"].as_f64()?))
    };
    lines.iter().filter_map(bar).collect()
}

fn part_bars(parts: &BTreeMap<String, Value>) -> Vec<(String, f64)> {
    let shown = |(name, figures): (&String, &Value)| {
        let place = name.strip_prefix("sllm-125m-h1-long/append after/")?;
        Some((place.to_owned(), figures["median_ms"].as_f64()?))
    };
    let mut bars: Vec<_> = parts.iter().filter_map(shown).collect();
    bars.sort_by_key(|(cached, _)| cached.parse().unwrap_or(0));
    bars
}

fn text<'v>(line: &'v Value, key: &str) -> &'v str {
    line[key].as_str().unwrap_or_default()
}

fn draw(name: &str, bars: &[(String, f64)]) -> Found<()> {
    let (title, label_axis, value_axis) = match name {
        "generation" => (
            "Generation",
            "model, variant × continuations together",
            "tokens/s",
        ),
        _ => (
            "Taking a sentence into a context of SLLM-125M-H1",
            "sentences in the context",
            "ms",
        ),
    };
    let chart = Bars {
        title,
        label_axis,
        value_axis,
        bars,
    };
    fs::write(format!("{FIGURES}/{name}.svg"), plot::bars(&[chart])?)?;
    Ok(())
}
