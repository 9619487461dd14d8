//! Checks that every mutant compiles, in a minute and not in an hour: mutants whose edits do not touch each other are
//! applied together and checked by one call of the compiler. Only if that call fails, each mutant is checked alone.

use anyhow::{Result, bail};

use super::mutant::Mutant;
use super::tree::Tree;

/// Checks the types of all mutants.
///
/// # Errors
/// If a mutant does not compile. The error names all such mutants.
pub(super) fn check_types(copy: &Tree, mutants: &[Mutant]) -> Result<()> {
    let mut failed = Vec::new();
    let mut waiting: Vec<&Mutant> = mutants.iter().collect();
    while !waiting.is_empty() {
        let (group, others) = check_together(copy, &waiting, &mut failed)?;
        // Without progress the loop would not end.
        anyhow::ensure!(group > 0, "{}: it does not apply", waiting[0].name);
        waiting = others;
    }
    if !failed.is_empty() {
        bail!(
            "{} mutants do not compile:\n\n{}",
            failed.len(),
            failed.join("\n\n")
        );
    }
    Ok(())
}

/// Checks as many of the mutants as can be applied together. Returns their number, and the other mutants. Adds the errors
/// of those that do not compile to `failed`.
fn check_together<'a>(
    copy: &Tree,
    mutants: &[&'a Mutant],
    failed: &mut Vec<String>,
) -> Result<(usize, Vec<&'a Mutant>)> {
    let (mut group, mut others, mut originals) = (Vec::new(), Vec::new(), Vec::new());
    for mutant in mutants {
        match copy.apply(mutant) {
            Ok(before) => {
                group.push(*mutant);
                originals.push(before);
            }
            // An earlier mutant of the group has changed the text that this one changes.
            Err(_) => others.push(*mutant),
        }
    }
    let result = copy.check_types();
    // In reverse order, because a later mutant keeps the edits of the earlier ones as its original.
    originals
        .iter()
        .rev()
        .try_for_each(|before| copy.write_all(before))?;
    match (result, group.as_slice()) {
        (Ok(()), _) => {}
        (Err(error), [mutant]) => failed.push(format!("{}: {error:#}", mutant.name)),
        (Err(_), _) => {
            for mutant in &group {
                check_together(copy, &[mutant], failed)?;
            }
        }
    }
    Ok((group.len(), others))
}
