//! README says what is true: its commands run, and its table is that of `--help`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::program;

fn readme() -> String {
    std::fs::read_to_string("README.md").unwrap()
}

/// The lines of all code blocks of a language.
fn code_lines(text: &str, language: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(opened)) => inside = Some(opened == language),
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// Prose is at most 100 columns wide; tables, code and links may be wider.
#[test]
fn prose_is_not_too_wide() {
    let docs = std::fs::read_dir("docs").unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = docs
        .filter(|path| path.extension() == Some("md".as_ref()))
        .collect();
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "fuzz/README.md",
    ] {
        files.push(name.into());
    }
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.starts_with("```");
            let free = code || line.starts_with(['|', '[', '!']);
            let width = line.chars().count();
            assert!(
                free || width <= 100,
                "{}:{}: {width}",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn every_command_runs() {
    let readme = readme();
    let commands = code_lines(&readme, "sh");
    assert!(!commands.is_empty());
    for command in commands {
        let arguments = command.strip_prefix("sllm-ort ").unwrap();
        // The commands quote with double quotes only.
        let words: Vec<&str> = arguments
            .split('"')
            .enumerate()
            .flat_map(|(number, part)| match number % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            })
            .collect();
        let output = program().args(words).write_stdin("").output().unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn the_table_of_commands_is_that_of_help() {
    let help = String::from_utf8(program().arg("--help").output().unwrap().stdout).unwrap();
    let (_, after) = help.split_once("Commands:\n").unwrap();
    let commands = after.lines().take_while(|line| !line.trim().is_empty());
    let listed: Vec<(String, String)> = commands
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(name, does)| (name.to_owned(), does.trim().to_owned()))
        .filter(|(name, _)| name != "help")
        .collect();
    assert!(listed.len() >= 5, "{help}");
    let readme = readme();
    let (_, table) = readme
        .split_once("| command | does |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
    let described: Vec<(String, String)> = rows
        .filter_map(|row| row.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, does)| (name.to_owned(), does.to_owned()))
        .collect();
    assert_eq!(described, listed, "README's table and --help");
}

/// All links to files of the project, whether their definition is in place or at the end.
#[test]
fn what_it_links_to_is_there() {
    let readme = readme();
    let in_place = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let at_the_end = readme
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let (names, defined): (Vec<_>, Vec<_>) = at_the_end.unzip();
    assert!(!names.is_empty());
    for name in names {
        let uses = readme.matches(&format!("[{name}]")).count();
        assert!(uses > 1, "README never links to {name}");
    }
    let files = in_place.chain(defined).filter(|to| !to.contains("://"));
    let headings: Vec<String> = readme
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '))
        .map(|title| format!("#{}", title.to_lowercase().replace(' ', "-")))
        .collect();
    for file in files {
        let heading = headings.iter().any(|heading| heading == file);
        assert!(heading || std::path::Path::new(file).exists(), "{file}");
    }
}

/// The prompt is the Makefile's, the story what the program prints for it.
#[test]
fn the_story_is_what_make_run_prints() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let prompt = makefile
        .lines()
        .find_map(|line| line.strip_prefix("PROMPT := "))
        .unwrap();
    let output = program()
        .args(["run", prompt, "--seed", "1"])
        .output()
        .unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let whole = format!("{prompt} {}", story.trim_end());
    assert!(
        readme().contains(&whole),
        "README lacks the story:\n{whole}"
    );
}
