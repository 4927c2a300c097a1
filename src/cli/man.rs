//! `man`: the manual pages.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_mangen::Man;

use super::{output, output_path};

#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write the pages of the program and of each command to a directory, not to stdout
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub fn run(args: &ManArgs, program: Command) -> anyhow::Result<()> {
    // A page of `help` would repeat this one.
    let mut program = program.disable_help_subcommand(true);
    program.build();
    let Some(dir) = &args.dir else {
        output::piece(&String::from_utf8(page(&Man::new(program))?)?)?;
        return Ok(());
    };
    let mut commands = vec![program.clone()];
    commands.extend(program.get_subcommands().cloned());
    let source = program.render_version();
    let mans = commands
        .into_iter()
        .map(|command| Man::new(command).source(source.trim()));
    let pages = mans
        .map(|man| Ok((dir.join(man.get_filename()), page(&man)?)))
        .collect::<io::Result<Vec<_>>>()?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for (path, _) in &pages {
        output_path::check(path)?;
    }
    let mut printed = Ok(());
    for (path, page) in pages {
        write(dir, &path, &page).with_context(|| format!("cannot write {}", path.display()))?;
        // All pages are written, whoever reads their names.
        printed = printed.and_then(|()| output::line(&path.display().to_string()));
    }
    Ok(printed?)
}

fn page(man: &Man) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man.render(&mut page)?;
    Ok(page)
}

/// Write a file whole or not at all.
fn write(dir: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    // As for any other new file, the process's mask says who may read it.
    let mut partial = tempfile::Builder::new().make_in(dir, |path| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).open(path)
    })?;
    partial.as_file_mut().write_all(content)?;
    partial.persist(path).map_err(|error| error.error)?;
    Ok(())
}
