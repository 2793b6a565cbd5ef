//! `countersign completions` and `countersign man`, made of the definition of the commands.
//!
//! Never describes anything itself. Invariant: what is printed speaks of every command that there is.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, unavailable};

/// Prints the script that completes commands in that shell.
pub(super) fn completions(shell: Shell) -> ExitCode {
    printed(&script(shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
    script
}

/// Prints the manual page, or writes one for each command into the directory, which is made if need be.
pub(super) fn pages(directory: Option<&Path>) -> ExitCode {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(Cli::command()).render(&mut page) {
            Ok(()) => printed(&page),
            Err(error) => unavailable("could not make the manual page", &error),
        };
    };
    let written = std::fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(Cli::command(), directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unavailable(&format!("could not write manual pages to {}", directory.display()), &error),
    }
}

fn printed(bytes: &[u8]) -> ExitCode {
    match io::stdout().write_all(bytes) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unavailable("could not write", &error),
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_command_is_completed_and_has_a_page() {
        let home = tempfile::tempdir().unwrap();
        clap_mangen::generate_to(Cli::command(), home.path()).unwrap();
        for command in Cli::command().get_subcommands().map(|command| command.get_name().to_owned()) {
            for shell in Shell::value_variants() {
                assert!(String::from_utf8(script(*shell)).unwrap().contains(&command), "{command} in {shell}");
            }
            let page = std::fs::read_to_string(home.path().join(format!("countersign-{command}.1"))).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{command}");
        }
    }
}
