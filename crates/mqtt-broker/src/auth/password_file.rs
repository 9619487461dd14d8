//! [`Passwords`]: a password file in the format of mosquitto_passwd, with `USER:HASH` on each line.
//!
//! [`Passwords::verify`] checks a password. Hashing is slow by design, so the check runs in a thread (`verifier.rs`). A
//! check does the same work for every user of the file and for unknown users. Otherwise the time of a login would
//! reveal which users exist.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::Path;

use mqtt_session::Printable;
use subtle::ConstantTimeEq;

use crate::auth::error::{AccessError, AccessFile};
use crate::auth::hash::{Form, MAXIMUM_ARGON2_WORK, PasswordHash};

/// Maximum length of a user name in bytes.
const MAXIMUM_LENGTH: usize = 65535;

/// The users and the hashes of their passwords.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Passwords {
    users: BTreeMap<String, PasswordHash>,
    work: Work,
}

/// The work of each check: one hash of each form in the file, for known and unknown users.
///
/// A file may have hashes of several forms, for example after an update of mosquitto_passwd. If a check made only the
/// hash of the user's own form, its time would show the form, and thereby that the user exists. The iterations of
/// PBKDF2 can be divided between the user's own hash and an additional one, so the maximum of the file suffices.
/// argon2id cannot be divided, so each set of parameters needs a hash.
#[derive(Debug, Default, PartialEq, Eq)]
struct Work {
    /// Set if the file has a hash of the form `$6$`.
    has_sha512: bool,
    /// The highest number of iterations of PBKDF2 in the file.
    iterations: Option<NonZeroU32>,
    /// The different parameters of argon2id in the file.
    argon2: BTreeSet<Form>,
}

impl Work {
    /// Adds the form of a hash in the file.
    fn add(&mut self, form: Form) {
        match form {
            Form::Sha512 => self.has_sha512 = true,
            Form::Pbkdf2(iterations) => self.iterations = self.iterations.max(Some(iterations)),
            Form::Argon2id(_) => {
                self.argon2.insert(form);
            }
        }
    }

    /// Returns the sum of m * t of all different parameters of argon2id.
    fn argon2_work(&self) -> u64 {
        self.argon2.iter().map(|form| form.argon2_work()).sum()
    }

    /// Returns the forms of the hashes that a check must make in addition to the hash of the user's own form. `own` is
    /// `None` for an unknown user.
    fn beside(&self, own: Option<Form>) -> impl Iterator<Item = Form> {
        // These hashes and the user's own hash together take as long as the check for an unknown user.
        let sha512 = (self.has_sha512 && own != Some(Form::Sha512)).then_some(Form::Sha512);
        let done = match own {
            Some(Form::Pbkdf2(iterations)) => iterations.get(),
            _ => 0,
        };
        let iterations = self
            .iterations
            .map_or(0, NonZeroU32::get)
            .saturating_sub(done);
        let pbkdf2 = NonZeroU32::new(iterations).map(Form::Pbkdf2);
        let argon2 = self
            .argon2
            .iter()
            .copied()
            .filter(move |form| own != Some(*form));
        sha512.into_iter().chain(pbkdf2).chain(argon2)
    }
}

impl Passwords {
    /// Reads a password file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or one of its lines is invalid.
    pub fn read(path: &Path) -> Result<Self, AccessError> {
        let bytes = std::fs::read(path).map_err(|error| {
            let file = AccessFile::Passwords;
            AccessError::Read(file, path.to_owned(), error)
        })?;
        Self::parse(&bytes).map_err(|(line, what)| {
            let file = AccessFile::Passwords;
            AccessError::Line(file, path.to_owned(), line, what)
        })
    }

    /// Parses the bytes of a password file.
    ///
    /// # Errors
    /// Returns the number of the line, from 1, and the reason, if a user name is empty or too long, a user has two
    /// lines, a hash has none of the known forms, or the hashes would take too much time or memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let mut users = BTreeMap::new();
        let mut work = Work::default();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let error = |what: &str| (index + 1, what.to_owned());
            if line.starts_with(b"#") {
                continue; // comments may have bytes of an old character set, such as Latin-1
            }
            let line = std::str::from_utf8(line)
                .map_err(|_| error("the line is not valid UTF-8 (save the file in UTF-8)"))?;
            let Some((user, hash)) = line.split_once(':') else {
                continue; // a line without a password, such as an empty one
            };
            let (user, hash) = (user.trim(), hash.trim());
            if user.is_empty() || user.len() > MAXIMUM_LENGTH {
                return Err(error(
                    "expected a user name of 1 to 65535 bytes before the ':'",
                ));
            }
            let hash = PasswordHash::parse(hash).map_err(|what| (index + 1, what))?;
            work.add(hash.form);
            // Each check makes a hash for every set of parameters, so the sum is limited and not the single hash.
            let argon2 = work.argon2_work();
            if argon2 > MAXIMUM_ARGON2_WORK {
                return Err(error(&format!(
                    "the argon2id hashes of the file need too much work: expected a sum of m * t over all different \
                     parameters of at most {MAXIMUM_ARGON2_WORK}, given {argon2}"
                )));
            }
            if users.insert(user.to_owned(), hash).is_some() {
                let user = Printable(user);
                return Err(error(&format!(
                    "an earlier line has the user '{user}' too (remove one of the lines)"
                )));
            }
        }
        Ok(Self { users, work })
    }

    /// Returns the names of the users.
    pub fn user_names(&self) -> BTreeSet<String> {
        self.users.keys().cloned().collect()
    }

    /// Returns `true` if this is the password of the user. Takes milliseconds or more, and for an unknown user as long
    /// as for a known one.
    pub fn verify(&self, user_name: &str, password: &[u8]) -> bool {
        self.verify_with(user_name, password, Form::hash)
    }

    /// Verifies the password with this hash function. A test counts the work with a function of its own.
    fn verify_with(
        &self,
        user_name: &str,
        password: &[u8],
        mut hash: impl FnMut(Form, &[u8], &[u8], usize) -> Option<Vec<u8>>,
    ) -> bool {
        let own = self.users.get(user_name);
        let is_right = own.is_some_and(|own| {
            let made = hash(own.form, password, &own.salt, own.hash.len());
            // `ct_eq` takes the same time wherever the first difference is, so its time reveals nothing about the hash.
            made.is_some_and(|made| made.ct_eq(&own.hash).into())
        });
        // These hashes only take time. `black_box` keeps the compiler from removing them.
        for form in self.work.beside(own.map(|own| own.form)) {
            std::hint::black_box(hash(form, password, &REFERENCE_SALT, REFERENCE_SALT.len()));
        }
        is_right
    }
}

/// The salt of the hashes that are only made for their time. It has the length of a real salt, because the length
/// affects the time.
const REFERENCE_SALT: [u8; 64] = [0; 64];

#[cfg(test)]
mod tests {
    use super::super::Hashing;
    use super::*;

    fn right(file: &str, user_name: &str, password: &str) -> bool {
        let passwords = Passwords::parse(file.as_bytes()).unwrap();
        passwords.verify(user_name, password.as_bytes())
    }

    #[test]
    fn passwords_match_their_hashes() {
        for hashing in [Hashing::Argon2id, Hashing::Pbkdf2] {
            let hash = PasswordHash::new(b"secret", hashing).unwrap();
            let file = format!("# users\nnobody\nme : {hash} \n");
            assert!(right(&file, "me", "secret"), "{file}");
            assert!(!right(&file, "me", "Secret"));
            assert!(!right(&file, "you", "secret"));
            assert!(!format!("{hash:?}").contains("salt"));
        }
        assert!(!right("", "me", "secret"));
    }

    /// The first file was written by mosquitto_passwd 2.0.11, and the second one by an older version.
    #[test]
    fn reads_password_files_of_mosquitto() {
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
    fn checking_an_unknown_user_does_the_same_work() {
        let sha512 = "$6$AAECAwQFBgcICQoL$JqsxEv/ucyxjA5DKsQ+Y8CDWaQDNQI9FpAkmfwAqWfwZLk/JEGgM0EpylrJ\
                      HAZKKyFQjJeZ3nFaHjPzOzPPmPw==";
        let pbkdf2 = |iterations| sha512.replacen("$6$", &format!("$7${iterations}$"), 1);
        let argon2 = |numbers| format!("$argon2id$v=19${numbers}$c2FsdHNhbHQ$aGFzaGhhc2g");
        let lines = [
            format!("old:{sha512}"),
            format!("debian:{}", pbkdf2(101)),
            format!("debian2:{}", pbkdf2(101)),
            format!("new:{}", pbkdf2(1000)),
            format!("strong:{}", argon2("m=47104,t=1,p=1")),
            format!("strong2:{}", argon2("m=47104,t=1,p=1")),
            format!("other:{}", argon2("m=8,t=9,p=1")),
        ];
        // Files with a single line, and a file with all lines.
        let files = lines.iter().map(|line| vec![line.clone()]);
        for lines in files.chain([lines.to_vec()]) {
            let passwords = Passwords::parse(lines.join("\n").as_bytes()).unwrap();
            let work_of = |user: &str| {
                let mut iterations = 0;
                let mut others = Vec::new();
                let is_right =
                    passwords.verify_with(user, b"guess", |form, password, _, length| {
                        assert_eq!(password, b"guess");
                        match form {
                            Form::Pbkdf2(count) => iterations += count.get(),
                            form => others.push(form),
                        }
                        Some(vec![0; length])
                    });
                assert!(!is_right);
                others.sort();
                (iterations, others)
            };
            let unknown = work_of("nobody");
            assert!(unknown.0 > 0 || !unknown.1.is_empty());
            for line in &lines {
                let user = line.split_once(':').unwrap().0;
                assert_eq!(work_of(user), unknown, "{user} of {lines:?}");
            }
        }
    }

    #[test]
    fn rejects_hash_parameters_that_need_too_much_time_or_memory() {
        let rest = "dA5gFWskNjvwPSP9$8rYCp+0XT43yzJQzBOxCE9Vajc8GMd9+Nl5la2xI2wFcif/5YWAUlR8dQN9V/2UTFmR\
                    c/2jPRuSI+9UIWPZJrg==";
        let argon2 = |numbers| format!("$argon2id$v=19${numbers}$c2FsdHNhbHQ$aGFzaGhhc2g");
        let both = format!(
            "{}\nyou:{}",
            argon2("m=1048576,t=1,p=1"),
            argon2("m=1048575,t=2,p=1")
        );
        for (hash, line, words) in [
            (
                format!("$7$1000001${rest}"),
                1,
                "at most 1000000, given 1000001",
            ),
            (
                format!("$7$4000000000${rest}"),
                1,
                "at most 1000000, given 4000000000",
            ),
            (
                format!("$7$99999999999${rest}"),
                1,
                "at most 1000000, given 99999999999",
            ),
            (
                argon2("m=1048577,t=1,p=1"),
                1,
                "parameter m: expected at most 1048576",
            ),
            (
                argon2("m=8,t=4294967295,p=1"),
                1,
                "parameter t: expected at most 1000",
            ),
            (
                argon2("m=4096,t=1,p=65"),
                1,
                "parameter p: expected at most 64",
            ),
            (
                argon2("m=8192,t=1000,p=1"),
                1,
                "at most 2097152, given 8192000",
            ),
            (argon2("m=8,t=0,p=1"), 1, "are invalid"),
            (argon2("m=8,t=1,p=2"), 1, "are invalid"),
            (both, 2, "at most 2097152, given 3145726"),
        ] {
            let file = format!("me:{hash}");
            let (found, text) = Passwords::parse(file.as_bytes()).unwrap_err();
            assert_eq!(found, line, "{file}");
            assert!(text.contains(words), "{text}");
        }
        for good in [format!("$7$1000000${rest}"), argon2("m=1048576,t=2,p=64")] {
            Passwords::parse(format!("me:{good}").as_bytes()).unwrap();
        }
    }

    #[test]
    fn comments_may_have_any_bytes() {
        Passwords::parse(b"# f\xFCr alle\n").unwrap();
        assert_eq!(Passwords::parse(b"f\xFCr:x").unwrap_err().0, 1);
    }

    #[test]
    fn invalid_lines_are_reported_with_their_number() {
        let good = PasswordHash::new(b"x", Hashing::Pbkdf2).unwrap();
        for (file, line, what) in [
            ("me:plain".to_owned(), 1, "unknown form of password hash"),
            (format!("\n:{good}"), 2, "user name"),
            (
                format!("a:{good}\na:{good}"),
                2,
                "an earlier line has the user 'a' too",
            ),
            (
                "me:$7$0$c2FsdHNhbHRzYWx0$aGFzaA==".to_owned(),
                1,
                "unknown form of password hash",
            ),
            (
                "me:$argon2id$v=19$m=4294967295,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned(),
                1,
                "argon2id parameter m: expected at most 1048576, given 4294967295",
            ),
        ] {
            let (number, text) = Passwords::parse(file.as_bytes()).unwrap_err();
            assert_eq!(number, line, "{file}");
            assert!(text.contains(what), "{text}");
        }
    }
}
