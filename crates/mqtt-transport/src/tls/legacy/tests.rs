//! Tests of rewritten certificates: which certificates are rewritten, and that the result contains nothing that the
//! issuer has not signed.

use proptest::prelude::*;
use rcgen::{
    BasicConstraints as Constraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair,
};
use webpki::EndEntityCert;

use super::*;

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::new([]).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, "example.org");
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

/// Returns a certificate of version 1 with the fields of another certificate. `rest` is appended to the fields.
fn version_1(certificate: &[u8], rest: &[&[u8]]) -> CertificateDer<'static> {
    let fields = Fields::read(certificate).unwrap();
    let body = fields.body.concat();
    let signed = element(SEQUENCE, &[&[body.as_slice()], rest].concat()).unwrap();
    let [algorithm, signature] = fields.signature;
    element(SEQUENCE, &[&signed, algorithm, signature])
        .unwrap()
        .into()
}

fn subject_alternative_name(contents: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 17], contents.to_vec())
}

#[test]
fn current_certificate_is_not_rewritten() {
    let new = certificate(|params| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("a.b".try_into().unwrap())]
    });
    assert!(LegacyCertificate::read(&new, Role::Server).is_none());
    // A client's certificate needs no host, so a common name alone is valid.
    let client = certificate(|_| {});
    assert!(LegacyCertificate::read(&client, Role::Client).is_none());
    assert!(LegacyCertificate::read(&client, Role::Server).is_some());
}

#[test]
fn a_certificate_of_version_1_is_rewritten_with_the_same_fields() {
    let old = version_1(&certificate(|_| {}), &[]);
    assert!(EndEntityCert::try_from(&old).is_err());
    let legacy = LegacyCertificate::read(&old, Role::Server).unwrap();
    let readable = EndEntityCert::try_from(legacy.readable()).unwrap();
    let before = Fields::read(&old).unwrap();
    let after = Fields::read(legacy.readable()).unwrap();
    assert_eq!(
        (before.body, before.signature),
        (after.body, after.signature)
    );
    assert_eq!(
        readable.valid_dns_names().collect::<Vec<_>>(),
        ["example.org"]
    );
    assert_eq!(legacy.signed, before.signed);
    assert_eq!(legacy.rewritten, after.signed);
}

#[test]
fn version_1_has_no_extensions() {
    let extension = element(
        EXTENSIONS,
        &[&element(SEQUENCE, &[&alternative_name(b"\x82\x01a").unwrap()]).unwrap()],
    );
    let old = version_1(&certificate(|_| {}), &[&extension.unwrap()]);
    assert!(LegacyCertificate::read(&old, Role::Server).is_none());
    // webpki does not parse the unique identifiers of version 2. They have no meaning.
    let identifier = [ISSUER_UNIQUE_ID, 2, 0, 1];
    let old = version_1(&certificate(|_| {}), &[&identifier]);
    assert!(LegacyCertificate::read(&old, Role::Server).is_some());
}

#[test]
fn repeated_extensions_are_kept_for_webpki_to_reject() {
    let authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(Constraints::Unconstrained);
        let second = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 1, 1, 0xFF]);
        params.custom_extensions = vec![second.clone(), second];
    };
    let legacy = LegacyCertificate::read(&certificate(authority), Role::Server).unwrap();
    let error = EndEntityCert::try_from(legacy.readable()).err();
    assert_eq!(error, Some(webpki::Error::ExtensionValueInvalid));
}

#[test]
fn any_alternative_name_excludes_the_common_name() {
    for name in [
        &b""[..],
        b"\x82\x00",
        b"\x81\x03a@b",
        b"\x87\x04\x7F\x00\x00\x01",
        b"nonsense",
    ] {
        let contents = element(SEQUENCE, &[name]).unwrap();
        let certificate = certificate(|params| {
            params.custom_extensions = vec![subject_alternative_name(&contents)];
        });
        assert!(
            LegacyCertificate::read(&certificate, Role::Server).is_none(),
            "{name:?}"
        );
    }
}

#[test]
fn common_name_that_is_no_host_name_is_ignored() {
    for name in [
        "",
        "a b",
        "example.org\0.example.com",
        "*",
        "*.",
        "a,b",
        "*.127.0.0.1",
        "ä.example.org",
    ] {
        let certificate = certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, name);
        });
        assert!(
            LegacyCertificate::read(&certificate, Role::Server).is_none(),
            "{name:?}"
        );
    }
}

#[test]
fn only_the_rewritten_certificate_is_verified_over_other_bytes() {
    let key = KeyPair::generate().unwrap();
    let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
    let public_key = webpki::ring::ECDSA_P256_SHA256;
    let old = version_1(&certificate(|_| {}), &[]);
    let legacy = LegacyCertificate::read(&old, Role::Server).unwrap();
    let algorithm = legacy.over_original(public_key);
    let sign = |message: &[u8]| rcgen::SigningKey::sign(&key, message).unwrap();
    let key = &spki[spki.len() - 65..];
    let verify = |message: &[u8], signature: &[u8]| {
        algorithm.verify_signature(key, message, signature).is_ok()
    };
    assert!(verify(&legacy.rewritten, &sign(&legacy.signed)));
    assert!(!verify(&legacy.rewritten, &sign(&legacy.rewritten)));
    assert!(verify(b"other", &sign(b"other")));
    assert!(!verify(b"other", &sign(&legacy.signed)));
}

proptest! {
    #[test]
    fn any_bytes_are_rewritten_or_unchanged(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        change in any::<(prop::sample::Index, u8)>(),
    ) {
        let _ = LegacyCertificate::read(&bytes.into(), Role::Server);
        let mut old = version_1(&certificate(|_| {}), &[]).to_vec();
        let at = change.0.index(old.len());
        old[at] = change.1;
        let old = CertificateDer::from(old);
        if let Some(legacy) = LegacyCertificate::read(&old, Role::Server) {
            // The module must verify the signature over exactly the bytes in the certificate.
            prop_assert_eq!(signed_part(&old), Some(&legacy.signed[..]));
        }
    }
}
