//! The findings for people: the verdict first, 80 columns at most.

use serde_json::Value;

/// Columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;

/// Lines that tell what works.
pub fn lines(findings: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&findings["version"]);
    let mut lines = vec![match findings["works"].as_bool() {
        Some(true) => format!("sllm-ort {version} works"),
        _ => format!("sllm-ort {version} does not work here"),
    }];
    let runtime = &findings["onnxruntime"];
    lines.push(match runtime["problem"].as_str() {
        Some(problem) => marked(false, "ONNX Runtime", problem),
        None => marked(
            true,
            "ONNX Runtime",
            &format!("{}, {}", text(&runtime["version"]), text(&runtime["path"])),
        ),
    });
    let model = &findings["model"];
    let problems = model["problems"].as_array();
    let problem = model["problem"].as_str().map(ToOwned::to_owned);
    let problem = problem.or_else(|| problems.and_then(|all| all.first()).map(text));
    lines.push(match problem {
        Some(problem) => marked(false, "model", &problem),
        None => marked(
            true,
            "model",
            &format!("{}, {}", text(&model["name"]), text(&model["path"])),
        ),
    });
    for provider in findings["providers"].as_array().into_iter().flatten() {
        let name = text(&provider["name"]);
        lines.push(match provider["starts"].as_bool() {
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
        lines.push(marked(false, "run", problem));
    }
    lines.push("-v shows the details".into());
    lines
}

/// One line with a mark, cut to the width of a terminal.
fn marked(works: bool, name: &str, told: &str) -> String {
    let mark = if works { "[ok]" } else { "[--]" };
    let line = format!("{mark} {name:<13} {told}");
    match line.char_indices().nth(COLUMNS) {
        None => line,
        Some(_) => {
            let kept: String = line.chars().take(COLUMNS - 3).collect();
            format!("{}...", kept.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_verdict_comes_first_and_lines_are_short() {
        let long = "x".repeat(200);
        let findings = json!({
            "version": "1.0", "works": false,
            "onnxruntime": {"version": "1.31.1", "path": long},
            "model": {"name": "a", "path": "b", "problems": [long]},
            "providers": [
                {"name": "cpu", "offered": true, "starts": true, "variant": "portable"},
                {"name": "cuda", "offered": false, "starts": false, "problem": "p"},
                {"name": "xnnpack", "offered": true, "starts": false, "problem": long},
            ],
            "run": {"problem": "it failed"},
        });
        let lines = lines(&findings);
        assert_eq!(lines[0], "sllm-ort 1.0 does not work here");
        assert!(
            lines.iter().all(|line| line.chars().count() <= COLUMNS),
            "{lines:?}"
        );
        assert!(
            lines.contains(&"[ok] cpu           variant portable".to_owned()),
            "{lines:?}"
        );
        assert!(lines.iter().any(|line| line.starts_with("[--] cuda")));
        assert!(lines.contains(&"[--] run           it failed".to_owned()));
    }
}
