//! [`PasswordHash`]: hashes of passwords in the forms of mosquitto_passwd.
//!
//! The parameters of a hash decide how much time and memory each login costs the broker. So the parameters have limits,
//! and a password file that exceeds them is rejected when it is read.

use std::num::NonZeroU32;
use std::{fmt, io};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use data_encoding::{BASE64, BASE64_NOPAD, Encoding};
use ring::{digest, pbkdf2};

/// Maximum length of a hash in a password file, in bytes.
const MAXIMUM_LENGTH: usize = 65535;

/// Length of the salt and of the hash of a new password, in bytes.
const LENGTH: usize = 64;

/// Iterations of PBKDF2 for a new password, as in mosquitto_passwd 2.1.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

/// Maximum number of iterations of PBKDF2. So many iterations take about a second. mosquitto_passwd uses 101 or 1000.
const MAXIMUM_ITERATIONS: u64 = 1_000_000;

/// Parameters m, t and p of argon2id for a new password, as in mosquitto_passwd 2.1: 46 MiB, one pass, one lane.
const ARGON2: [u32; 3] = [47104, 1, 1];

/// Maximum values of the parameters m (KiB of memory), t (passes) and p (lanes) of argon2id.
const MAXIMUM_ARGON2: [u64; 3] = [1024 * 1024, 1000, 64];

/// Maximum sum of m * t over all different argon2id parameters in a file. The time of a hash is proportional to m * t;
/// this maximum takes about two seconds.
pub(super) const MAXIMUM_ARGON2_WORK: u64 = 2 * 1024 * 1024;

/// Maximum length of the salt and of the hash of argon2id, in bytes. Longer values would take additional time.
const MAXIMUM_ARGON2_LENGTH: usize = 128;

/// The hash of a password, with the parameters and the salt with which it was made.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    pub(super) form: Form,
    pub(super) salt: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

/// A hash function with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// `$argon2id$v=19$m=…,t=…,p=…$`
    Argon2id([u32; 3]),
    /// `$7$ITERATIONS$`: PBKDF2 with HMAC and SHA-512.
    Pbkdf2(NonZeroU32),
    /// `$6$`: SHA-512 of password and salt, once.
    Sha512,
}

/// The algorithm that hashes new passwords.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hashing {
    /// argon2id, which needs much memory by design, so that guessing passwords is expensive.
    Argon2id,
    /// PBKDF2 with SHA-512, which every version of mosquitto since 2.0 can read.
    #[default]
    Pbkdf2,
}

impl PasswordHash {
    /// Hashes a new password with a random salt.
    ///
    /// # Errors
    /// Returns an error if the system provides no random bytes, or the password is too long for the algorithm.
    pub fn new(password: &[u8], hashing: Hashing) -> io::Result<Self> {
        let form = match hashing {
            Hashing::Argon2id => Form::Argon2id(ARGON2),
            Hashing::Pbkdf2 => Form::Pbkdf2(ITERATIONS),
        };
        let mut salt = vec![0; LENGTH];
        getrandom::fill(&mut salt).map_err(|_| {
            io::Error::other("cannot hash the password: the system provides no random bytes")
        })?;
        let hash = form.hash(password, &salt, LENGTH).ok_or_else(|| {
            io::Error::other("cannot hash the password: the password is too long")
        })?;
        Ok(Self { form, salt, hash })
    }

    /// Parses a hash in the form of a password file.
    ///
    /// # Errors
    /// Returns the reason if the hash has none of the known forms, or its parameters exceed the limits.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let unknown = || UNKNOWN_FORM.to_owned();
        if text.len() > MAXIMUM_LENGTH {
            return Err(unknown());
        }
        let parts = text.strip_prefix('$').ok_or_else(unknown)?;
        let mut parts = parts.split('$');
        let mut next = || parts.next().ok_or_else(unknown);
        let (form, encoding): (_, &Encoding) = match next()? {
            "6" => (Form::Sha512, &BASE64),
            "7" => (Form::Pbkdf2(iterations(next()?)?), &BASE64),
            // 19 (0x13) is the current version of argon2, and the only one that mosquitto_passwd writes.
            "argon2id" if next()? == "v=19" => {
                (Form::Argon2id(argon2_numbers(next()?)?), &BASE64_NOPAD)
            }
            _ => return Err(unknown()),
        };
        let mut decoded = || encoding.decode(next()?.as_bytes()).map_err(|_| unknown());
        let (salt, hash) = (decoded()?, decoded()?);
        let fits = match form {
            Form::Argon2id(_) => {
                // The minimum lengths are those of argon2.
                (8..=MAXIMUM_ARGON2_LENGTH).contains(&salt.len())
                    && (4..=MAXIMUM_ARGON2_LENGTH).contains(&hash.len())
            }
            Form::Pbkdf2(_) | Form::Sha512 => {
                // mosquitto_passwd writes salts of 12 bytes, and since version 2.1 of 64 bytes.
                matches!(salt.len(), 12 | 64) && hash.len() == digest::SHA512_OUTPUT_LEN
            }
        };
        if fits && parts.next().is_none() {
            Ok(Self { form, salt, hash })
        } else {
            Err(unknown())
        }
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self.form {
            Form::Argon2id([memory, passes, lanes]) => {
                write!(f, "$argon2id$v=19$m={memory},t={passes},p={lanes}")?;
                &BASE64_NOPAD
            }
            Form::Pbkdf2(iterations) => {
                write!(f, "$7${iterations}")?;
                &BASE64
            }
            Form::Sha512 => {
                f.write_str("$6")?;
                &BASE64
            }
        };
        let (salt, hash) = (encoding.encode(&self.salt), encoding.encode(&self.hash));
        write!(f, "${salt}${hash}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash")
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl Form {
    /// Returns m * t of argon2id, which is proportional to its time, and 0 for the other forms.
    pub(super) fn argon2_work(self) -> u64 {
        match self {
            Self::Argon2id([memory, passes, _]) => u64::from(memory) * u64::from(passes),
            Self::Pbkdf2(_) | Self::Sha512 => 0,
        }
    }

    /// Hashes a password into `length` bytes. Returns `None` if the parameters are invalid.
    pub(super) fn hash(self, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut hash = vec![0; length];
        match self {
            Self::Argon2id([memory, passes, lanes]) => {
                let params = Params::new(memory, passes, lanes, Some(length)).ok()?;
                // The memory (m KiB) is allocated for each hash and freed afterwards, so that an idle broker does not
                // keep it.
                let mut blocks = vec![Block::default(); params.block_count()];
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into_with_memory(password, salt, &mut hash, &mut blocks)
                    .ok()?;
            }
            Self::Pbkdf2(iterations) => {
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA512,
                    iterations,
                    salt,
                    password,
                    &mut hash,
                );
            }
            Self::Sha512 => {
                let mut context = digest::Context::new(&digest::SHA512);
                context.update(password);
                context.update(salt);
                hash = context.finish().as_ref().to_vec();
            }
        }
        Some(hash)
    }
}

const UNKNOWN_FORM: &str = "unknown form of password hash: expected $7$..., $6$... or $argon2id$... ('rbroker passwd -U FILE' hashes plain \
     passwords)";

/// Parses the number of iterations of `$7$`.
fn iterations(text: &str) -> Result<NonZeroU32, String> {
    let number = limited("PBKDF2 iterations", text, MAXIMUM_ITERATIONS)?;
    NonZeroU32::new(number).ok_or_else(|| UNKNOWN_FORM.to_owned())
}

/// Parses the parameters `m=…,t=…,p=…` of argon2id.
fn argon2_numbers(text: &str) -> Result<[u32; 3], String> {
    let unknown = || UNKNOWN_FORM.to_owned();
    // mosquitto_passwd writes the parameters in this order only.
    let mut parts = text.split(',');
    let mut number = |name: &str, maximum| {
        let value = parts
            .next()
            .and_then(|part| part.strip_prefix(name)?.strip_prefix('='));
        limited(
            &format!("argon2id parameter {name}"),
            value.ok_or_else(unknown)?,
            maximum,
        )
    };
    let [memory, passes, lanes] = MAXIMUM_ARGON2;
    let numbers = [
        number("m", memory)?,
        number("t", passes)?,
        number("p", lanes)?,
    ];
    if parts.next().is_some() {
        return Err(unknown());
    }
    let [memory, passes, lanes] = numbers;
    match Params::new(memory, passes, lanes, None) {
        Ok(_) => Ok(numbers),
        Err(error) => Err(format!("argon2id parameters '{text}' are invalid: {error}")),
    }
}

/// Parses a number of at most `maximum`.
fn limited(name: &str, text: &str, maximum: u64) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(UNKNOWN_FORM.to_owned());
    }
    let number = text
        .parse()
        .ok()
        .filter(|number: &u32| u64::from(*number) <= maximum);
    number.ok_or_else(|| format!("{name}: expected at most {maximum}, given {text}"))
}
