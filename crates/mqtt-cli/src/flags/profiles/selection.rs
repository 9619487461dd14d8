//! Finds `@NAME` on the command line, which selects a profile.

use std::ffi::{OsStr, OsString};

use crate::failure::Failure;
use crate::flags::definition::{Apply, CommandOption};
use crate::flags::program::Program;

impl<S> Program<S> {
    /// Splits the words of a command line into the name of the selected profile, without its `@`, and the other words.
    /// Returns `None` if no word selects a profile.
    ///
    /// # Errors
    /// If two words select a profile, or the name is empty or not UTF-8.
    pub(in crate::flags) fn split_profile(
        &self,
        words: &[OsString],
    ) -> Result<Option<(String, Vec<OsString>)>, Failure> {
        let is_selection = |word: &OsString| word.as_encoded_bytes().starts_with(b"@");
        // Most command lines have no such word. They skip the search through the options.
        if self.sources.is_none() || !words.iter().any(is_selection) {
            return Ok(None);
        }
        let mut profile = None;
        let mut others = Vec::with_capacity(words.len());
        let mut rest = words;
        while let [word, following @ ..] = rest {
            // The value of an option may begin with '@', such as a message.
            let count = self.value_count(word, following).min(following.len());
            let (values, after) = following.split_at(count);
            rest = after;
            if !is_selection(word) {
                others.push(word.clone());
                others.extend_from_slice(values);
            } else if profile.replace(name(word)?).is_some() {
                return Err(Failure::usage("Only one profile can be used.")
                    .with_hint("Write one word that begins with '@'."));
            }
        }
        Ok(profile.map(|profile| (profile, others)))
    }

    /// Returns the number of words after `word` that are the value of the option `word`.
    fn value_count(&self, word: &OsStr, following: &[OsString]) -> usize {
        let option = self.all().find(|option| option.is_named(word));
        match option.or_else(|| self.last_of(word)).map(|o| &o.apply) {
            None | Some(Apply::Flag(_) | Apply::Optional(_) | Apply::ByClap(_)) => 0,
            Some(Apply::Value(_) | Apply::Words(_)) => 1,
            Some(Apply::Rest(_)) => following.len(),
            Some(Apply::Property(_)) => match following.get(1) {
                Some(name) if name.eq_ignore_ascii_case("user-property") => 4,
                _ => 3,
            },
        }
    }

    /// Returns the last option of several short options in one word, as in `-lm`, if all options before it have no
    /// value. Otherwise the word contains a value, as in `-hm`.
    fn last_of(&self, word: &OsStr) -> Option<&CommandOption<S>> {
        let letters = word.to_str()?.strip_prefix('-')?;
        let last = letters.chars().last()?;
        let option = |letter: char| {
            let name = format!("-{letter}");
            self.all().find(|option| option.short == name)
        };
        let mut before = letters.strip_suffix(last)?.chars().map(option);
        before
            .all(|option| option.is_some_and(|option| matches!(option.apply, Apply::Flag(_))))
            .then(|| option(last))
            .flatten()
    }
}

/// Returns the name of the profile that a word selects.
fn name(word: &OsStr) -> Result<String, Failure> {
    let name = word.to_str().and_then(|word| word.strip_prefix('@'));
    match name {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(
            Failure::usage("The name of the profile is missing after '@'.")
                .with_hint("Write '@NAME' for the profile [NAME] of config.toml."),
        ),
    }
}
