//! Password files, in the forms of mosquitto_passwd: `user:HASH` on each line. Passwords are checked by
//! [`PasswordCheck::run`], which takes its time on purpose and so belongs to a thread of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, Encoding};
use ring::{digest, pbkdf2};

/// A user name or a hash is not longer.
const MAXIMUM_LENGTH: usize = 65535;

/// Bytes of the salts and hashes that are written.
const LENGTH: usize = 64;

/// What mosquitto 2.1 writes.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(1000).expect("it is not zero");

/// Parameters of argon2 as mosquitto 2.1 writes them: 47 MiB, once, one lane.
const ARGON2: [u32; 3] = [47104, 1, 1];

/// So much memory may a hash ask for, in KiB.
const MAXIMUM_MEMORY: u32 = 1024 * 1024;

/// The users and the hashes of their passwords.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passwords {
    users: BTreeMap<String, Arc<PasswordHash>>,
}

/// What is known of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    form: Form,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `$argon2id$v=19$m=…,t=…,p=…$`
    Argon2id([u32; 3]),
    /// `$7$ITERATIONS$`: PBKDF2 with HMAC and SHA-512.
    Pbkdf2(NonZeroU32),
    /// `$6$`: SHA-512 of password and salt, once.
    Sha512,
}

/// How new passwords are hashed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hashing {
    /// argon2id, which takes much memory on purpose.
    Argon2id,
    /// PBKDF2 with SHA-512, which every mosquitto reads.
    #[default]
    Pbkdf2,
}

/// Why a file about access cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum AccessError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// A line is wrong: the file, the number of the line, and what it is.
    Line(PathBuf, usize, &'static str),
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot open '{}': {error}", path.display()),
            Self::Line(path, number, what) => {
                write!(f, "line {number} of '{}' is wrong: {what}", path.display())
            }
        }
    }
}

impl std::error::Error for AccessError {}

impl Passwords {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or a line of it is wrong.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let bytes = std::fs::read(path).map_err(|e| AccessError::Read(path.to_owned(), e))?;
        Self::parse(&bytes).map_err(|(line, what)| AccessError::Line(path.to_owned(), line, what))
    }

    /// Understands the bytes of a file; the error is the number of a line, and what is wrong with it.
    ///
    /// # Errors
    /// If a user has no name, or two lines, or a password is not hashed in one of the known forms.
    pub fn parse(bytes: &[u8]) -> Result<Self, (usize, &'static str)> {
        let mut passwords = Self::default();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what| (index + 1, what);
            let line = std::str::from_utf8(line).map_err(|_| error("it is not valid UTF-8"))?;
            if line.starts_with('#') {
                continue;
            }
            let Some((user, hash)) = line.split_once(':') else {
                continue;
            };
            let (user, hash) = (user.trim(), hash.trim());
            if user.is_empty() || user.len() > MAXIMUM_LENGTH {
                return Err(error("the user name is missing or too long"));
            }
            let hash = PasswordHash::parse(hash).ok_or_else(|| {
                error("the password is not hashed in a form that is known ('rbroker passwd -U FILE' hashes plain ones)")
            })?;
            if passwords
                .users
                .insert(user.to_owned(), Arc::new(hash))
                .is_some()
            {
                return Err(error("the user has a line above"));
            }
        }
        Ok(passwords)
    }

    /// Whether there is such a user.
    pub(crate) fn has(&self, user_name: &str) -> bool {
        self.users.contains_key(user_name)
    }

    /// What has to be checked before this user may come in. For a user who is not known it takes as long.
    pub(crate) fn check(&self, user_name: &str, password: Option<Bytes>) -> PasswordCheck {
        let known = self.users.get(user_name);
        PasswordCheck {
            is_known: known.is_some(),
            hash: known.or_else(|| self.users.values().next()).cloned(),
            password: password.unwrap_or_default(),
        }
    }
}

/// A password that is to be compared with its hash.
#[derive(Clone)]
pub struct PasswordCheck {
    is_known: bool,
    hash: Option<Arc<PasswordHash>>,
    password: Bytes,
}

impl fmt::Debug for PasswordCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordCheck") // passwords are in no log
    }
}

impl PasswordCheck {
    /// Does it: says whether the password is right. Takes milliseconds, or more.
    pub fn run(&self) -> bool {
        let is_right = |hash: &Arc<PasswordHash>| hash.is_of(&self.password);
        self.hash.as_ref().is_some_and(is_right) && self.is_known
    }
}

impl PasswordHash {
    /// The hash of a new password.
    ///
    /// # Errors
    /// If the system has no random bytes.
    pub fn new(password: &[u8], hashing: Hashing) -> io::Result<Self> {
        let form = match hashing {
            Hashing::Argon2id => Form::Argon2id(ARGON2),
            Hashing::Pbkdf2 => Form::Pbkdf2(ITERATIONS),
        };
        let mut salt = vec![0; LENGTH];
        getrandom::fill(&mut salt).map_err(|_| io::Error::other("there are no random bytes"))?;
        let hash = form
            .hash(password, &salt, LENGTH)
            .ok_or_else(|| io::Error::other("the password cannot be hashed"))?;
        Ok(Self { form, salt, hash })
    }

    /// As it stands in a file.
    fn parse(text: &str) -> Option<Self> {
        if text.len() > MAXIMUM_LENGTH {
            return None;
        }
        let mut parts = text.strip_prefix('$')?.split('$');
        let (form, encoding): (_, &Encoding) = match parts.next()? {
            "6" => (Form::Sha512, &BASE64),
            "7" => (Form::Pbkdf2(parts.next()?.parse().ok()?), &BASE64),
            "argon2id" if parts.next()? == "v=19" => (
                Form::Argon2id(argon2_numbers(parts.next()?)?),
                &BASE64_NOPAD,
            ),
            _ => return None,
        };
        let mut decoded = || encoding.decode(parts.next()?.as_bytes()).ok();
        let (salt, hash) = (decoded()?, decoded()?);
        let fits = match form {
            Form::Argon2id(_) => salt.len() >= 8 && hash.len() >= 4,
            Form::Pbkdf2(_) | Form::Sha512 => {
                matches!(salt.len(), 12 | 64) && hash.len() == digest::SHA512_OUTPUT_LEN
            }
        };
        (fits && parts.next().is_none()).then_some(Self { form, salt, hash })
    }

    fn is_of(&self, password: &[u8]) -> bool {
        let hash = self.form.hash(password, &self.salt, self.hash.len());
        hash.is_some_and(|hash| is_equal(&hash, &self.hash))
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
    fn hash(self, password: &[u8], salt: &[u8], length: usize) -> Option<Vec<u8>> {
        let mut hash = vec![0; length];
        match self {
            Self::Argon2id([memory, passes, lanes]) => {
                let params = Params::new(memory, passes, lanes, Some(length)).ok()?;
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

/// `m=…,t=…,p=…`
fn argon2_numbers(text: &str) -> Option<[u32; 3]> {
    let mut parts = text.split(',');
    let mut number = |name: &str| parts.next()?.strip_prefix(name)?.parse().ok();
    let numbers = [number("m=")?, number("t=")?, number("p=")?];
    let [memory, ..] = numbers;
    (memory <= MAXIMUM_MEMORY && parts.next().is_none()).then_some(numbers)
}

/// Takes as long wherever the difference is.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(file: &str, user_name: &str, password: &'static str) -> bool {
        let passwords = Passwords::parse(file.as_bytes()).unwrap();
        passwords.check(user_name, Some(password.into())).run()
    }

    #[test]
    fn passwords_are_known_by_their_hashes() {
        for hashing in [Hashing::Argon2id, Hashing::Pbkdf2] {
            let hash = PasswordHash::new(b"secret", hashing).unwrap();
            let file = format!("# users\nnobody\nme : {hash} \n");
            assert!(right(&file, "me", "secret"), "{file}");
            assert!(!right(&file, "me", "Secret"));
            assert!(!right(&file, "you", "secret"));
            assert!(!format!("{hash:?}").contains("salt"));
        }
        assert!(!Passwords::default().check("me", None).run());
    }

    /// The first one as mosquitto_passwd 2.0.11 writes it, the other as older ones did.
    #[test]
    fn files_of_mosquitto_are_read() {
        let new = "me:$7$101$dA5gFWskNjvwPSP9$8rYCp+0XT43yzJQzBOxCE9Vajc8GMd9+Nl5la2xI2wFcif/5YWAUlR8\
                   dQN9V/2UTFmRc/2jPRuSI+9UIWPZJrg==";
        let old = "me:$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJ\
                   HAZKKyFQjJeZ3nFaHjPzOzPPmPw==";
        for file in [new, old] {
            assert!(right(file, "me", "secret"), "{file}");
            assert!(!right(file, "me", "secret "), "{file}");
        }
    }

    #[test]
    fn wrong_lines_are_told_by_number() {
        let good = PasswordHash::new(b"x", Hashing::Pbkdf2).unwrap();
        for (file, line, what) in [
            ("me:plain".to_owned(), 1, "not hashed"),
            (format!("\n:{good}"), 2, "user name"),
            (format!("a:{good}\na:{good}"), 2, "above"),
            (
                "me:$7$0$c2FsdHNhbHRzYWx0$aGFzaA==".to_owned(),
                1,
                "not hashed",
            ),
            (
                "me:$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
                1,
                "not hashed",
            ),
        ] {
            let (number, text) = Passwords::parse(file.as_bytes()).unwrap_err();
            assert_eq!(number, line, "{file}");
            assert!(text.contains(what), "{text}");
        }
    }
}
