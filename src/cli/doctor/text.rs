//! Findings as plain text: the verdict first, then each finding, wrapped at 80 columns. Long words
//! are not cut.

use serde_json::Value;

/// Columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;
/// Columns in front of what is told: a mark and a name.
const INDENT: usize = 19;

/// Lines that tell what works.
pub fn lines(findings: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&findings["version"]);
    let mut lines = vec![match findings["works"].as_bool() {
        Some(true) => format!("sllm-ort {version} works"),
        _ => format!("sllm-ort {version} does not work here"),
    }];
    let runtime = &findings["onnxruntime"];
    lines.extend(match runtime["problem"].as_str() {
        Some(problem) => marked(false, "ONNX Runtime", problem),
        None => marked(
            true,
            "ONNX Runtime",
            &format!("{}, {}", text(&runtime["version"]), text(&runtime["path"])),
        ),
    });
    let model = &findings["model"];
    let problems = model["problems"].as_array().into_iter().flatten();
    let problems: Vec<String> = [&model["problem"]]
        .into_iter()
        .chain(problems)
        .filter_map(|problem| problem.as_str().map(ToOwned::to_owned))
        .collect();
    match problems.is_empty() {
        true => lines.extend(marked(
            true,
            "model",
            &format!("{}, {}", text(&model["name"]), text(&model["path"])),
        )),
        false => lines.extend(
            problems
                .iter()
                .flat_map(|told| marked(false, "model", told)),
        ),
    }
    for provider in findings["providers"].as_array().into_iter().flatten() {
        let name = text(&provider["name"]);
        lines.extend(match provider["starts"].as_bool() {
            Some(true) => marked(
                true,
                &name,
                &format!("variant {}", text(&provider["variant"])),
            ),
            _ if provider["offered"] == false => {
                marked(false, &name, "not in this build of ONNX Runtime")
            }
            _ => marked(false, &name, &text(&provider["problem"])),
        });
    }
    if let Some(problem) = findings["run"]["problem"].as_str() {
        lines.extend(marked(false, "run", problem));
    }
    let warnings = findings["run"]["warnings"].as_array().into_iter().flatten();
    lines.extend(warnings.flat_map(|warning| with_mark("[!!]", "warning", &text(warning))));
    lines.push("-v shows the details".into());
    lines
}

/// A finding with a mark, in as many lines as it takes. A word is never cut: it may be a path.
fn marked(works: bool, name: &str, told: &str) -> Vec<String> {
    with_mark(if works { "[ok]" } else { "[--]" }, name, told)
}

fn with_mark(mark: &str, name: &str, told: &str) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let mut lines = vec![format!("{mark} {name:<13}")];
    let mut begun = false;
    for word in told.split_whitespace() {
        if begun
            && let Some(last) = lines.last()
            && width(last) + 1 + width(word) > COLUMNS
        {
            lines.push(" ".repeat(INDENT - 1));
        }
        if let Some(last) = lines.last_mut() {
            last.push(' ');
            last.push_str(word);
        }
        begun = true;
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verdict_comes_first_and_nothing_is_cut() {
        let long = "some words ".repeat(30).trim_end().to_owned();
        let path = format!("/{}", "x".repeat(200));
        let findings = json!({
            "version": "1.0", "works": false,
            "onnxruntime": {"version": "1.31.1", "path": path},
            "model": {"name": "a", "path": "b", "problems": [long, "another"]},
            "providers": [
                {"name": "cpu", "offered": true, "starts": true, "variant": "portable"},
                {"name": "cuda", "offered": false, "starts": false, "problem": "p"},
                {"name": "xnnpack", "offered": true, "starts": false, "problem": long},
            ],
            "run": {"problem": "it failed"},
        });
        let lines = lines(&findings);
        assert_eq!(lines[0], "sllm-ort 1.0 does not work here");
        let fits = |line: &&String| line.chars().count() <= COLUMNS;
        let wide: Vec<_> = lines.iter().filter(|line| !fits(line)).collect();
        assert_eq!(
            wide,
            [&format!("{}{path}", " ".repeat(INDENT))],
            "{lines:?}"
        );
        let joined = lines.join(" ");
        let words: Vec<&str> = joined.split_whitespace().collect();
        assert_eq!(words.join(" ").matches(&long).count(), 2, "{lines:?}");
        for expected in [
            "[ok] cpu           variant portable",
            "[--] run           it failed",
            "[--] model         another",
        ] {
            assert!(lines.contains(&expected.to_owned()), "{lines:?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("[--] cuda")));
    }
}
