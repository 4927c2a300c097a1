//! `completions`: a script that lets a shell complete the program's arguments.

use clap::{Args, Command};
use clap_complete::Shell;

use super::output;

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// Shell to print the script for
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, mut program: Command) -> anyhow::Result<()> {
    let name = program.get_name().to_owned();
    // Made first: clap_complete panics where it cannot write, as to a pipe that is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, &name, &mut script);
    let mut script = String::from_utf8(script)?;
    if args.shell == Shell::Bash {
        // clap_complete 4.6 takes a hyphen in a program's name for the end of a command, but only
        // in one of two places that must agree: without this no subcommand's options are found.
        let split_name = name.replace('-', "__subcmd__");
        script = script.replace(&split_name, &name.replace('-', "__"));
    }
    output::piece(&script)?;
    Ok(())
}
