//! Parses the fenced blocks of a Markdown page and their marks. `docs/README.md` describes the marks.

/// A fenced block that the test uses.
#[derive(Debug)]
pub(crate) enum Block {
    /// Commands and their output in one of the terminals of the page.
    Console {
        terminal: String,
        /// Set if the last command keeps running after the block.
        stays: bool,
        /// A program that is not always installed. Without it the block is skipped.
        needs: Option<String>,
        steps: Vec<Step>,
    },
    /// A file that the reader has to write.
    File { name: String, text: String },
    /// Commands for the reader only, with the reason why the test cannot run them.
    NotRun {
        text: String,
        reason: String,
        line: usize,
    },
}

/// A part of a console block: an action, and the lines that follow it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) output: String,
    /// The line of the page, for error messages.
    pub(crate) line: usize,
}

/// The action of the reader in a terminal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Types a command, which may have several lines.
    Type(String),
    /// Presses Ctrl-C.
    Interrupt,
    /// Looks at the output of the command that runs.
    Watch,
}

impl Block {
    pub(crate) fn is_console(&self) -> bool {
        matches!(self, Self::Console { .. })
    }

    pub(crate) fn is_not_run(&self) -> bool {
        matches!(self, Self::NotRun { .. })
    }
}

/// Returns the blocks of a page in order. Blocks in other languages are left out.
pub(crate) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(mark) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```")
            .collect();
        found.extend(block(mark, &body, number + 1)?);
    }
    Ok(found)
}

fn block(mark: &str, body: &[&str], line: usize) -> Result<Option<Block>, String> {
    let (language, rest) = mark.split_once(' ').unwrap_or((mark, ""));
    let text = || body.iter().map(|line| format!("{line}\n")).collect();
    Ok(match language {
        "console" => Some(console(rest, body, line)?),
        "sh" => Some(Block::NotRun {
            text: text(),
            reason: rest.to_owned(),
            line,
        }),
        _ if !rest.is_empty() => Some(Block::File {
            name: rest.to_owned(),
            text: text(),
        }),
        _ => None,
    })
}

fn console(marks: &str, body: &[&str], line: usize) -> Result<Block, String> {
    let (mut terminal, mut stays, mut needs) = ("shell".to_owned(), false, None);
    for mark in marks.split_whitespace() {
        match mark.split_once('=') {
            Some(("needs", program)) => needs = Some(program.to_owned()),
            Some(_) => return Err(format!("line {line}: unknown mark {mark:?}")),
            None if mark == "stays" => stays = true,
            None => terminal = mark.to_owned(),
        }
    }
    Ok(Block::Console {
        terminal,
        stays,
        needs,
        steps: steps(body, line + 1),
    })
}

fn steps(body: &[&str], first_line: usize) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_typing = false;
    for (number, text) in (first_line..).zip(body) {
        let action = match text.strip_prefix("$ ") {
            Some(command) => Some(Action::Type(format!("{command}\n"))),
            None if *text == "^C" => Some(Action::Interrupt),
            None if steps.is_empty() => Some(Action::Watch),
            None => None,
        };
        if let Some(action) = action {
            is_typing = matches!(action, Action::Type(_));
            let is_watching = action == Action::Watch;
            steps.push(Step {
                action,
                output: String::new(),
                line: number,
            });
            if !is_watching {
                continue;
            }
        }
        let Some(step) = steps.last_mut() else {
            continue;
        };
        match (&mut step.action, text.strip_prefix("> ")) {
            (Action::Type(command), Some(more)) if is_typing => {
                command.push_str(more);
                command.push('\n');
            }
            _ => {
                is_typing = false;
                step.output.push_str(text);
                step.output.push('\n');
            }
        }
    }
    steps
}
