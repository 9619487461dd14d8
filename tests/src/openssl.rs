//! Creates certificates with the openssl command, for cases that rcgen cannot write: X.509 version 1, other kinds of
//! keys, and files in the form that users of OpenSSL have.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{find, skip};

/// An authority of the openssl command, in a temporary folder.
#[derive(Debug)]
pub struct OpenSsl {
    folder: TempDir,
    key_options: Vec<String>,
}

/// A certificate to create with [`OpenSsl::issue`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Issue<'a> {
    /// The common name.
    pub common_name: &'a str,
    /// The extensions, one on each line, as in the file of `-extfile`. Without extensions the certificate has version
    /// 1.
    pub extensions: &'a str,
    /// Set for a certificate that has expired.
    pub has_expired: bool,
}

impl OpenSsl {
    /// Creates an authority in `ca.crt`. Keys are made with these options of `openssl genpkey`. If the command is not
    /// installed, reports that the test is skipped and returns `None`.
    pub fn new(test: &str, key_options: &str) -> Option<Self> {
        if find("openssl").is_none() {
            skip(test, "openssl is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let key_options = key_options.split_whitespace().map(str::to_owned).collect();
        let authority = Self {
            folder,
            key_options,
        };
        authority.write("cnf", CONFIGURATION);
        authority.write("index", "");
        authority.write("serial", "1000");
        authority.write("crlnumber", "01");
        authority.make_key("ca.key");
        authority.run(
            "req -x509 -new -config cnf -key ca.key -out ca.crt -subj /CN=authority -days 365",
        );
        authority.open_to_others();
        Some(authority)
    }

    /// Creates an authority with the same name and another key, in a separate folder.
    pub fn impostor(&self) -> Self {
        Self::new("impostor", &self.key_options.join(" ")).expect("openssl is installed")
    }

    /// Creates an authority that this authority has signed, in a separate folder.
    pub fn intermediate(&self, name: &str) -> Self {
        let below = self.impostor();
        below.run(&format!(
            "req -new -config cnf -key ca.key -out ca.csr -subj /CN={name}"
        ));
        std::fs::copy(below.path("ca.csr"), self.path("below.csr")).expect("it can be copied");
        self.sign(
            "below.csr",
            "below.crt",
            "basicConstraints=critical,CA:TRUE",
            false,
        );
        std::fs::copy(self.path("below.crt"), below.path("ca.crt")).expect("it can be copied");
        below.open_to_others();
        below
    }

    /// Creates a certificate in `NAME.crt`, and its key in `NAME.key` if that file does not exist.
    pub fn issue(&self, name: &str, issue: Issue<'_>) {
        let (key, request, certificate) = (
            format!("{name}.key"),
            format!("{name}.csr"),
            format!("{name}.crt"),
        );
        if !self.path(&key).exists() {
            self.make_key(&key);
        }
        let subject = issue.common_name;
        self.run(&format!(
            "req -new -config cnf -key {key} -out {request} -subj /CN={subject}"
        ));
        self.sign(&request, &certificate, issue.extensions, issue.has_expired);
        self.open_to_others();
    }

    /// Creates a key with these options of `openssl genpkey`.
    pub fn make_key_with(&self, name: &str, options: &str) {
        self.run(&format!("genpkey {options} -out {name}"));
    }

    /// Revokes a certificate and writes the revocation list, `crl.pem`, again.
    pub fn revoke(&self, name: &str) {
        self.run(&format!(
            "ca -config cnf -cert ca.crt -keyfile ca.key -revoke {name}.crt"
        ));
        self.write_list();
    }

    /// Writes the revocation list, `crl.pem`.
    pub fn write_list(&self) {
        self.run("ca -config cnf -cert ca.crt -keyfile ca.key -gencrl -crlexts crl -out crl.pem");
        self.open_to_others();
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the text of a file.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it can be read")
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it can be written");
        self.open_to_others();
    }

    /// Runs openssl with these words in the folder. Returns its standard output.
    pub fn run(&self, words: &str) -> String {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .current_dir(self.folder.path())
            .output()
            .expect("openssl runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "openssl {words}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn make_key(&self, name: &str) {
        self.make_key_with(name, &self.key_options.join(" "));
    }

    fn sign(&self, request: &str, certificate: &str, extensions: &str, has_expired: bool) {
        let mut words = format!(
            "ca -config cnf -cert ca.crt -keyfile ca.key -batch -notext -in {request} -out {certificate}"
        );
        if has_expired {
            words += " -startdate 200101000000Z -enddate 210101000000Z";
        }
        if !extensions.is_empty() {
            self.write("extensions", extensions);
            words += " -extfile extensions";
        }
        self.run(&words);
    }

    /// Lets all users read the files: mosquitto reads them as another user if root has started it.
    fn open_to_others(&self) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let open = |path: &Path, mode| {
                let mode = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(path, mode).expect("it is ours");
            };
            open(self.folder.path(), 0o755);
            for entry in std::fs::read_dir(self.folder.path()).expect("it is there") {
                let path = entry.expect("it can be read").path();
                if path.is_file() {
                    open(&path, 0o644);
                }
            }
        }
    }
}

const CONFIGURATION: &str = "\
[ca]
default_ca = own
[own]
database = index
new_certs_dir = .
serial = serial
crlnumber = crlnumber
default_md = default
default_days = 365
default_crl_days = 30
unique_subject = no
policy = any
[any]
commonName = supplied
[crl]
authorityKeyIdentifier = keyid
[req]
distinguished_name = name
x509_extensions = authority
[name]
[authority]
basicConstraints = critical,CA:TRUE
subjectKeyIdentifier = hash
";
