//! What packagers ask for: completions and the manual.

use super::args::Cli;
use super::exit::Exit;
use super::failure::Failure;
use super::screen::Screen;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io;

/// A completion script. `program` is the name under which this binary runs: it may be the user's
/// own.
pub(super) fn completions(
    shell: Shell,
    program: &str,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), program, &mut script);
    screen.print(&String::from_utf8_lossy(&script));
    Ok(Exit::Ok)
}

/// The manual: a page for the program and one for each command, behind one another.
pub(super) fn manual(screen: &mut Screen) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut roff = Vec::new();
    let pages = std::iter::once(command.clone()).chain(command.get_subcommands().cloned());
    for page in pages.filter(|page| page.get_name() != "help") {
        render(page, &mut roff).map_err(crate::store::Error::io("write", "the manual"))?;
    }
    screen.print(&String::from_utf8_lossy(&roff));
    Ok(Exit::Ok)
}

fn render(command: Command, roff: &mut Vec<u8>) -> io::Result<()> {
    Man::new(command).render(roff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page() {
        let mut command = Cli::command();
        command.build();
        let mut roff = Vec::new();
        for page in command.get_subcommands() {
            render(page.clone(), &mut roff).unwrap();
        }
        let roff = String::from_utf8(roff).unwrap();
        for name in ["import", "plan", "explain", "inspect", "scaffold", "list"] {
            assert!(roff.contains(&format!(".TH connector-{name} ")), "{name}");
        }
    }
}
