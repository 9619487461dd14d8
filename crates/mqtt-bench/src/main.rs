//! `mqtt-bench NAME BY COUNT`: runs the case NAME of the library BY for COUNT operations, so that callgrind can count
//! the instructions. Without arguments the program lists the cases. `cargo xtask bench` starts this program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let cases = mqtt_bench::cases();
    let [name, by, count] = &arguments[..] else {
        cases
            .iter()
            .for_each(|case| println!("{}\t{}", case.name, case.by));
        return ExitCode::SUCCESS;
    };
    let case = cases.iter().find(|case| case.name == name && case.by == by);
    match (case, count.parse()) {
        (Some(case), Ok(count)) => {
            (case.run)(count);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("There is no case {name} by {by}, or {count} is no number.");
            ExitCode::FAILURE
        }
    }
}
