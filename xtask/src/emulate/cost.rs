//! Measures one publish of QoS 1 with `rpub` of a platform: the memory and the number of instructions. Both exclude the
//! emulator. Debian's `mosquitto_pub` for the same architecture is measured in the same way.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::mosquitto;
use crate::dist::contents::PROGRAMS;
use crate::dist::targets::Target;

/// Maximum time of each step of the program that publishes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The address at which the emulator places the memory of the program. The emulator's own memory is far away from it.
const GUEST: u64 = 0x100_0000_0000;

/// Size of the range for the memory of the program.
const GUEST_SIZE: u64 = 0x100_0000_0000;

/// The cost of one publish.
struct Cost {
    /// The memory while the program waits for the PUBACK.
    memory: Memory,
    /// Number of instructions from the start to the end of the program.
    instructions: u64,
}

/// The memory of a program in KiB.
#[derive(Default)]
struct Memory {
    /// All pages that are in memory.
    resident: u64,
    /// The pages that the program has written. The others are parts of files, which processes share.
    written: u64,
}

/// Prints the sizes of the programs of a platform and the cost of a publish, as a row of the table in
/// docs/platforms.md.
pub(super) fn print(platform: &Target, profile: &str) -> Result<()> {
    let folder = platform.build_folder(profile);
    let mut sizes = Vec::new();
    for name in PROGRAMS {
        let program = folder.join(platform.program(name));
        let metadata = program.metadata();
        let size = metadata.with_context(|| format!("{} is not built", program.display()))?;
        let size = size.len() + 50_000;
        sizes.push(format!("{}.{}", size / 1_000_000, size / 100_000 % 10));
    }
    let sizes = sizes.join(", ");
    let Some(architecture) = mosquitto::Architecture::of(platform) else {
        println!("| `{}` | {sizes} | | | |", platform.name);
        return Ok(());
    };
    let emulator = match platform.emulator {
        [] => &[architecture.emulator],
        words => words,
    };
    let rpub = super::absolute(&folder.join("rpub"))?;
    let is_native = platform.emulator.is_empty();
    let ours = measure(emulator, is_native, rpub.into())?;
    let tree = mosquitto::install(&architecture)?;
    let words = [architecture.emulator, "-L", &tree.to_string_lossy()];
    let theirs = measure(&words, false, tree.join("usr/bin/mosquitto_pub").into())?;
    println!(
        "| `{}` | {sizes} | {}, {} | {}, {} | {}, {} |",
        platform.name,
        megabytes(ours.memory.resident),
        megabytes(theirs.memory.resident),
        megabytes(ours.memory.written),
        megabytes(theirs.memory.written),
        millions(ours.instructions),
        millions(theirs.instructions)
    );
    Ok(())
}

fn megabytes(kibibytes: u64) -> String {
    let tenths = (kibibytes * 1024 + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn millions(count: u64) -> String {
    let hundredths = (count + 5_000) / 10_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Measures a program: its memory in one run, and its instructions in another. If `is_native`, this machine runs the
/// program without an emulator while the memory is measured.
fn measure(emulator: &[&str], is_native: bool, program: OsString) -> Result<Cost> {
    let (mut command, range) = if is_native {
        (Command::new(&program), 0..u64::MAX)
    } else {
        let mut command = emulated(emulator)?;
        command.arg("-B").arg(format!("{GUEST:#x}")).arg(&program);
        (command, GUEST..GUEST + GUEST_SIZE)
    };
    let mut memory = Memory::default();
    publish(&mut command, |process| {
        memory = memory_of(process, &range)?;
        Ok(())
    })?;
    let mut command = emulated(emulator)?;
    // The emulator logs each translated block that it executes, and each block has one instruction. The first variable
    // selects this in qemu before 8.1, the second one in later versions.
    command
        .args(["-d", "exec,nochain", "-D", "/dev/stdout"])
        .env("QEMU_SINGLESTEP", "1")
        .env("QEMU_ONE_INSN_PER_TB", "1")
        .arg(program);
    let instructions = publish(&mut command, |_| Ok(()))?;
    ensure!(
        memory.resident > 0,
        "the emulator has no memory at {GUEST:#x}"
    );
    ensure!(instructions > 0, "the emulator has logged no instruction");
    Ok(Cost {
        memory,
        instructions,
    })
}

/// Returns a command that runs the emulator. The environment of the developer would change the counts.
fn emulated(words: &[&str]) -> Result<Command> {
    let (emulator, options) = words.split_first().context("there is an emulator")?;
    let mut command = Command::new(emulator);
    command.args(options).env_clear();
    Ok(command)
}

/// Counts the blocks in the log of the emulator.
fn blocks(log: ChildStdout) -> std::io::Result<u64> {
    let mut count = 0;
    for line in BufReader::new(log).split(b'\n') {
        count += u64::from(line?.starts_with(b"Trace "));
    }
    Ok(count)
}

/// Returns the memory of a process in the mappings that begin in this range of addresses.
fn memory_of(process: u32, range: &Range<u64>) -> Result<Memory> {
    let mappings = fs::read_to_string(format!("/proc/{process}/smaps"))?;
    let mut is_inside = false;
    let mut memory = Memory::default();
    for line in mappings.lines() {
        let mut words = line.split_whitespace();
        let word = words.next().unwrap_or_default();
        if let Some((start, _)) = word.split_once('-') {
            is_inside = u64::from_str_radix(start, 16).is_ok_and(|start| range.contains(&start));
        }
        let sum = match word {
            "Rss:" if is_inside => &mut memory.resident,
            "Anonymous:" if is_inside => &mut memory.written,
            _ => continue,
        };
        *sum += words.next().context("a size follows")?.parse::<u64>()?;
    }
    Ok(memory)
}

/// Publishes one message of QoS 1 with a program to a peer in this process. Returns the number of executed blocks that
/// the emulator has logged.
///
/// `while_waiting` receives the process identifier of the program when the program waits for the PUBACK.
fn publish(command: &mut Command, while_waiting: impl FnOnce(u32) -> Result<()>) -> Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    command.args(["-h", "127.0.0.1", "-t", "a", "-m", "x", "-q", "1", "-p"]);
    command
        .arg(address.port().to_string())
        .stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let log = child.stdout.take().context("piped")?;
    let counting = thread::spawn(move || blocks(log));
    let process = child.id();
    let result = answer(listener, address, || while_waiting(process));
    if result.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    result.with_context(|| format!("{command:?} does not publish"))?;
    ensure!(status.success(), "{command:?} failed");
    let Ok(count) = counting.join() else {
        bail!("the log of the emulator cannot be counted");
    };
    Ok(count?)
}

/// Accepts the connection of the program and answers its CONNECT and its PUBLISH.
fn answer(
    listener: TcpListener,
    address: SocketAddr,
    while_waiting: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (sender, accepted) = mpsc::sync_channel(1);
    thread::spawn(move || sender.send(listener.accept()));
    let Ok(connection) = accepted.recv_timeout(PATIENCE) else {
        // This connection ends the thread that accepts.
        let _ = TcpStream::connect(address);
        bail!("no connection");
    };
    let (mut connection, _) = connection?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_nodelay(true)?;
    packet(&mut connection).context("no CONNECT")?;
    connection.write_all(&[0x20, 2, 0, 0])?;
    let publish = packet(&mut connection).context("no PUBLISH")?;
    // The packet identifier follows the topic name, which has one character.
    let identifier = publish.get(3..5).context("a PUBLISH of QoS 1")?.to_owned();
    while_waiting()?;
    connection.write_all(&[0x40, 2, identifier[0], identifier[1]])?;
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).context("no end")?;
    Ok(())
}

/// Reads one packet of at most 127 bytes, and returns the bytes after its fixed header.
fn packet(connection: &mut TcpStream) -> Result<Vec<u8>> {
    let mut header = [0; 2];
    connection.read_exact(&mut header)?;
    ensure!(header[1] < 0x80, "the packet is too long");
    let mut rest = vec![0; header[1].into()];
    connection.read_exact(&mut rest)?;
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_are_rounded() {
        assert_eq!(megabytes(2_637), "2.7");
        assert_eq!(megabytes(10), "0.0");
        assert_eq!(millions(534_999), "0.53");
        assert_eq!(millions(3_995_000), "4.00");
    }

    /// The mappings of this process are below the range of a guest, or far above it.
    #[cfg(target_os = "linux")]
    #[test]
    fn memory_of_the_emulator_does_not_count() {
        let own = std::process::id();
        let all = memory_of(own, &(0..u64::MAX)).unwrap();
        assert!(all.written > 0 && all.resident > all.written);
        let of_guest = memory_of(own, &(GUEST..GUEST + GUEST_SIZE)).unwrap();
        assert_eq!(of_guest.resident, 0);
    }
}
