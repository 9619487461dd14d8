//! Creates valid and invalid certificates for tests. `openssl.rs` creates kinds of certificates that rcgen cannot
//! write.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use tempfile::TempDir;

/// An authority and the certificates that it has signed, as files in a temporary folder.
pub struct Certificates {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

/// The period in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// The certificate is valid now.
    Now,
    /// The certificate has expired.
    Past,
    /// The certificate is not valid yet.
    Future,
}

impl Validity {
    /// Returns the first and the last year.
    fn years(self) -> (i32, i32) {
        match self {
            Self::Now => (2024, 2124),
            Self::Past => (2020, 2022),
            Self::Future => (2120, 2124),
        }
    }
}

impl Certificates {
    /// Creates an authority, in `ca.crt`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let mut params = CertificateParams::default();
        // Each authority has a different name, so that no two authorities of a test are confused.
        let name = format!("authority of {}", folder.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("keys can be made");
        let authority = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let certificates = Self { folder, authority };
        certificates.write("ca.crt", &certificates.authority.pem());
        certificates
    }

    /// Returns the path of a file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Creates a certificate for these hosts, in `NAME.crt` and `NAME.key`.
    pub fn server(&self, name: &str, hosts: &[&str], validity: Validity) {
        let mut params = params(name, hosts, validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(name, params);
    }

    /// Creates a certificate for a client with this name.
    pub fn client(&self, name: &str) {
        let mut params = params(name, &[], Validity::Now);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params);
    }

    /// Creates a self-signed certificate.
    pub fn self_signed(&self, name: &str, hosts: &[&str]) {
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params(name, hosts, Validity::Now).self_signed(&key);
        let certificate = certificate.expect("it signs itself");
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Creates an authority whose own certificate is used by a server, as `openssl req -x509` creates it.
    pub fn serving_authority(&self, name: &str, hosts: &[&str], validity: Validity) {
        let mut params = params(name, hosts, validity);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.self_signed(&key).expect("it signs itself");
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    /// Creates an authority that this authority has signed, in a separate folder.
    pub fn intermediate(&self, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("temporary folders can be made");
        let mut params = params(name, &[], Validity::Now);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("keys can be made");
        let authority = CertifiedIssuer::signed_by(params, key, &self.authority);
        let authority = authority.expect("the authority signs");
        let certificates = Self { folder, authority };
        certificates.write("ca.crt", &certificates.authority.pem());
        certificates
    }

    /// Creates a revocation list in `crl.pem` that revokes the certificate of this client.
    pub fn revoke(&self, name: &str) {
        let list = self.revocation_list(&[name], Validity::Now);
        self.write("crl.pem", &list);
    }

    /// Returns a revocation list in PEM format with the certificates of these names.
    pub fn revocation_list(&self, names: &[&str], validity: Validity) -> String {
        let revoked = names.iter().map(|name| RevokedCertParams {
            serial_number: serial_number(name),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let (first, last) = validity.years();
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(first, 1, 1),
            next_update: date_time_ymd(last, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.authority);
        let list = list.expect("the authority signs");
        list.pem().expect("it is text")
    }

    /// Returns the folder of the files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn sign(&self, name: &str, params: CertificateParams) {
        let key = KeyPair::generate().expect("keys can be made");
        let issuer: &Issuer<'_, KeyPair> = &self.authority;
        let certificate = params.signed_by(&key, issuer).expect("the authority signs");
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::write(&path, text).expect("files can be written");
        // mosquitto reads the file as another user if root has started it.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for (path, mode) in [(&*path, 0o644), (self.folder.path(), 0o755)] {
                let readable = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(path, readable).expect("it is ours");
            }
        }
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

fn params(name: &str, hosts: &[&str], validity: Validity) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("the names can be in a certificate");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial_number(name));
    let (first, last) = validity.years();
    params.not_before = date_time_ymd(first, 1, 1);
    params.not_after = date_time_ymd(last, 1, 1);
    params
}

fn serial_number(name: &str) -> SerialNumber {
    SerialNumber::from_slice(name.as_bytes())
}
