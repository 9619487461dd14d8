//! Parser for lists of cipher suites in the syntax of OpenSSL (`man 1 openssl-ciphers`). It selects among the TLS 1.2
//! suites that rustls supports. The suites of TLS 1.3 are always offered, because OpenSSL too configures them with a
//! separate option.
//!
//! As in OpenSSL, unknown names are ignored if the list selects at least one suite.

use rustls::CipherSuite;

/// Cipher suite with its name and keywords in OpenSSL.
struct Suite {
    suite: CipherSuite,
    name: &'static str,
    keywords: &'static [&'static str],
}

/// The supported suites, in the order of OpenSSL's default.
const SUITES: [Suite; 6] = [
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        keywords: &["aECDSA", "ECDSA", "AES", "AESGCM", "AES256", "FIPS"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        keywords: &["aRSA", "AES", "AESGCM", "AES256", "FIPS"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        keywords: &["aECDSA", "ECDSA", "CHACHA20"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        keywords: &["aRSA", "CHACHA20"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        keywords: &["aECDSA", "ECDSA", "AES", "AESGCM", "AES128", "FIPS"],
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        keywords: &["aRSA", "AES", "AESGCM", "AES128", "FIPS"],
    },
];

/// Keywords that select all of these suites.
const ALL: &[&str] = &[
    "ALL", "DEFAULT", "HIGH", "TLSv1.2", "ECDHE", "EECDH", "kECDHE", "kEECDH", "ECDH",
];

/// Returns the suites that a list selects, in the order of the list.
pub(super) fn select(list: &str) -> Vec<CipherSuite> {
    let (mut active, mut inactive) = (Vec::new(), SUITES.iter().collect::<Vec<_>>());
    for word in list.split([':', ',', ' ', ';']) {
        // The sort is stable, as in OpenSSL, so suites of equal strength keep their order.
        if word == "@STRENGTH" {
            active.sort_by_key(|suite: &&Suite| suite.keywords.contains(&"AES128"));
        } else if let Some(name) = word.strip_prefix('!') {
            inactive.retain(|suite| !suite.is_named(name));
            active.retain(|suite| !suite.is_named(name));
        } else if let Some(name) = word.strip_prefix('-') {
            let removed = take_named(&mut active, name);
            inactive.splice(0..0, removed); // As in OpenSSL, a later word selects them first.
        } else if let Some(name) = word.strip_prefix('+') {
            let moved = take_named(&mut active, name);
            active.extend(moved);
        } else {
            active.extend(take_named(&mut inactive, word));
        }
    }
    active.iter().map(|suite| suite.suite).collect()
}

/// Removes the suites with this name from a list, and returns them.
fn take_named<'a>(suites: &mut Vec<&'a Suite>, name: &str) -> Vec<&'a Suite> {
    let (named, others) = suites.iter().partition(|suite| suite.is_named(name));
    *suites = others;
    named
}

impl Suite {
    /// Returns `true` if `name` is the name of the suite, or if all words of `name` (separated by `+`) are keywords of
    /// the suite.
    fn is_named(&self, name: &str) -> bool {
        let mut words = name.split('+');
        name == self.name || words.all(|word| ALL.contains(&word) || self.keywords.contains(&word))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn selects_the_suites_that_openssl_selects() {
        let Ok(version) = Command::new("openssl").arg("version").output() else {
            println!("skipped: openssl is not installed");
            return;
        };
        assert!(version.status.success());
        for list in [
            "HIGH",
            "DEFAULT",
            "ALL",
            "ECDHE+AESGCM",
            "HIGH:!aNULL:!MD5",
            "EECDH+AESGCM:EDH+AESGCM",
            "AES256:AES128",
            "AES128:AES256",
            "ECDHE+CHACHA20:ECDHE+AES128",
            "kEECDH+aRSA",
            "aECDSA:aRSA",
            "DEFAULT:!CHACHA20",
            "DEFAULT:-aECDSA:+AES256",
            "ALL:-AESGCM:ALL",
            "ALL:!AESGCM:ALL",
            "ALL:+aECDSA",
            "HIGH:@STRENGTH",
            "AES128:AES256:@STRENGTH",
            "@SECLEVEL=1:HIGH",
            "FIPS",
            "RSA",
            "kRSA",
            "SHA256",
            "SHA384",
            "MEDIUM:LOW",
            "AES256-SHA",
            "DHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES128-GCM-SHA256,ECDHE-RSA-AES256-GCM-SHA384",
            "ECDSA+AES128 TLSv1.2",
            "nonsense:AESGCM",
            "!HIGH",
        ] {
            let output = Command::new("openssl")
                .args(["ciphers", list])
                .output()
                .unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            let theirs = output.trim().split(':');
            let find = |name: &str| SUITES.iter().find(|suite| suite.name == name);
            let theirs: Vec<_> = theirs.filter_map(find).map(|suite| suite.suite).collect();
            assert_eq!(select(list), theirs, "{list}");
        }
    }
}
