//! What is read from a certificate: the hash that channel binding is about, and the names in it.
//!
//! Never decides whether a certificate is good; rustls has verified it before anybody asks for its names. Reads as much
//! X.509 (RFC 5280, in DER) as that takes.
//! Invariant: a certificate that cannot be read has no hash and no names.

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const BOOLEAN: u8 = 0x01;
/// UTF8String, PrintableString, IA5String: those of a name's strings that are UTF-8 as they are.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];
/// The version of a TBSCertificate; also the hash function among the parameters of RSASSA-PSS.
const EXPLICIT_0: u8 = 0xa0;
/// The extensions of a TBSCertificate.
const EXPLICIT_3: u8 = 0xa3;
/// rfc822Name, dNSName, uniformResourceIdentifier of a GeneralName.
const GENERAL_NAMES: [u8; 3] = [0x81, 0x82, 0x86];

/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 1.2.840.113549.1.1, signatures with RSA
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4, signatures with ECDSA
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
/// 2.16.840.1.101.3.4.2, hash functions of the SHA-2 family
const SHA_2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
/// 1.3.14.3.2.26
const SHA_1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];

/// The hash of a certificate for channel binding: `tls-server-end-point` of RFC 5929, section 4.1.
///
/// `None` when its signature algorithm uses no hash function of its own, as Ed25519: the RFC leaves that undefined.
#[must_use]
pub fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let mut parts = Der(certificate).open(SEQUENCE)?;
    parts.open(SEQUENCE)?;
    let algorithm = parts.open(SEQUENCE)?;
    Some(hash_of(algorithm)?.digest(certificate))
}

/// The names a client's certificate carries: the first common name of its subject, and the DNS names, mail addresses and
/// URIs of its subjectAltName.
#[must_use]
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let mut names = all_names(certificate).unwrap_or_default();
    // A name with a NUL is one that somebody wants to be cut (CVE-2009-4034).
    names.retain(|name| !name.is_empty() && !name.contains('\0'));
    names
}

fn all_names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let mut fields = Der(certificate).open(SEQUENCE)?.open(SEQUENCE)?;
    fields.open(EXPLICIT_0);
    // Serial number, signature algorithm, issuer, validity.
    (0..4).try_for_each(|_| fields.take().map(drop))?;
    let subject = fields.open(SEQUENCE)?;
    let mut names = Vec::from_iter(common_name(subject));
    while let Some((tag, content)) = fields.take() {
        if tag == EXPLICIT_3 {
            names.extend(alternative_names(content.clone().open(SEQUENCE)?)?);
        }
    }
    fields.0.is_empty().then_some(names)
}

fn common_name(mut subject: Der<'_>) -> Option<String> {
    while let Some(mut attributes) = subject.open(SET) {
        while let Some(mut attribute) = attributes.open(SEQUENCE) {
            if attribute.open(OBJECT_IDENTIFIER)?.0 == COMMON_NAME {
                let (tag, value) = attribute.take()?;
                return STRINGS.contains(&tag).then(|| String::from_utf8(value.0.to_vec()).ok()).flatten();
            }
        }
    }
    None
}

fn alternative_names(mut extensions: Der<'_>) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while let Some(mut extension) = extensions.open(SEQUENCE) {
        if extension.open(OBJECT_IDENTIFIER)?.0 != SUBJECT_ALT_NAME {
            continue;
        }
        extension.open(BOOLEAN);
        let mut general_names = extension.open(OCTET_STRING)?.open(SEQUENCE)?;
        while let Some((tag, value)) = general_names.take() {
            if GENERAL_NAMES.contains(&tag) {
                names.push(String::from_utf8(value.0.to_vec()).ok()?);
            }
        }
    }
    Some(names)
}

/// The hash functions of certificate signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// The hash function of an AlgorithmIdentifier; SHA-256 stands in for MD5 and SHA-1 (RFC 5929, section 4.1).
fn hash_of(mut algorithm: Der<'_>) -> Option<Hash> {
    let oid = algorithm.open(OBJECT_IDENTIFIER)?.0;
    if let Some(kind) = oid.strip_prefix(RSA) {
        return match kind {
            [0x0a] => hash_of_pss(algorithm),
            [0x04 | 0x05 | 0x0b] => Some(Hash::Sha256),
            [0x0c] => Some(Hash::Sha384),
            [0x0d] => Some(Hash::Sha512),
            [0x0e] => Some(Hash::Sha224),
            _ => None,
        };
    }
    match oid.strip_prefix(ECDSA)? {
        [0x01] | [0x03, 0x02] => Some(Hash::Sha256),
        [0x03, 0x01] => Some(Hash::Sha224),
        [0x03, 0x03] => Some(Hash::Sha384),
        [0x03, 0x04] => Some(Hash::Sha512),
        _ => None,
    }
}

/// RSASSA-PSS names its hash function in its parameters; without a name it is SHA-1 (RFC 4055, section 3.1).
fn hash_of_pss(mut algorithm: Der<'_>) -> Option<Hash> {
    let mut parameters = algorithm.open(SEQUENCE)?;
    let Some(mut hash) = parameters.open(EXPLICIT_0) else { return Some(Hash::Sha256) };
    let oid = hash.open(SEQUENCE)?.open(OBJECT_IDENTIFIER)?.0;
    if oid == SHA_1 {
        return Some(Hash::Sha256);
    }
    match oid.strip_prefix(SHA_2)? {
        [0x01] => Some(Hash::Sha256),
        [0x02] => Some(Hash::Sha384),
        [0x03] => Some(Hash::Sha512),
        [0x04] => Some(Hash::Sha224),
        _ => None,
    }
}

/// A run of DER elements: tag, length, content.
#[derive(Clone)]
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Takes the next element; `None` when there is no whole one.
    fn take(&mut self) -> Option<(u8, Der<'a>)> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // Nothing in a certificate is so long that its length takes more than four bytes.
            0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (
                    digits
                        .iter()
                        .try_fold(0_usize, |length, digit| Some(length.checked_mul(256)? + usize::from(*digit)))?,
                    rest,
                )
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, Der(content)))
    }

    /// Takes the next element if it has that tag.
    fn open(&mut self, tag: u8) -> Option<Der<'a>> {
        if self.0.first() == Some(&tag) { self.take().map(|(_, content)| content) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let check = |algorithm, expected: Option<usize>| {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
            let hash = end_point(certificate.der());
            assert_eq!(hash.as_ref().map(Vec::len), expected);
            if let (Some(hash), Some(32)) = (hash, expected) {
                assert_eq!(hash, Sha256::digest(certificate.der()).to_vec());
            }
        };
        check(&rcgen::PKCS_ECDSA_P256_SHA256, Some(32));
        check(&rcgen::PKCS_ECDSA_P384_SHA384, Some(48));
        check(&rcgen::PKCS_ED25519, None);
        assert_eq!(end_point(&CertificateDer::from_slice(b"junk")), None);
        assert_eq!(end_point(&CertificateDer::from_slice(b"")), None);
    }

    #[test]
    fn each_signature_algorithm_has_its_hash() {
        #[track_caller]
        fn check(oid: &[u8], parameters: &[u8], expected: Option<Hash>) {
            let algorithm = [&[OBJECT_IDENTIFIER, u8::try_from(oid.len()).unwrap()], oid, parameters].concat();
            assert_eq!(hash_of(Der(&algorithm)), expected, "{oid:?}");
        }
        let rsa = |kind: u8| [RSA, &[kind]].concat();
        check(&rsa(4), b"\x05\0", Some(Hash::Sha256));
        check(&rsa(5), b"\x05\0", Some(Hash::Sha256));
        check(&rsa(11), b"\x05\0", Some(Hash::Sha256));
        check(&rsa(12), b"\x05\0", Some(Hash::Sha384));
        check(&rsa(13), b"", Some(Hash::Sha512));
        check(&rsa(14), b"", Some(Hash::Sha224));
        check(&rsa(1), b"", None);
        check(&[ECDSA, &[1]].concat(), b"", Some(Hash::Sha256));
        check(&[ECDSA, &[3, 4]].concat(), b"", Some(Hash::Sha512));
        check(&[ECDSA, &[3]].concat(), b"", None);
        check(&[0x2b, 0x65, 0x70], b"", None);
        let pss = |hash: &[u8]| {
            let length = |more: usize| u8::try_from(hash.len() + more).unwrap();
            let head = [SEQUENCE, length(6), EXPLICIT_0, length(4), SEQUENCE, length(2), OBJECT_IDENTIFIER, length(0)];
            [&head[..], hash].concat()
        };
        check(&rsa(10), b"\x30\0", Some(Hash::Sha256));
        check(&rsa(10), b"", None);
        check(&rsa(10), &pss(SHA_1), Some(Hash::Sha256));
        check(&rsa(10), &pss(&[SHA_2, &[2]].concat()), Some(Hash::Sha384));
        check(&rsa(10), &pss(&[SHA_2, &[9]].concat()), None);
    }

    #[test]
    fn a_damaged_certificate_never_panics() {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "alice");
        let whole = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(names(&whole.clone().into()), ["alice", "localhost"]);
        for at in 0..whole.len() {
            let cut = CertificateDer::from(whole[..at].to_vec());
            assert_eq!((end_point(&cut), names(&cut)), (None, Vec::new()), "{at}");
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                let changed = CertificateDer::from(changed);
                let _ = (end_point(&changed), names(&changed));
            }
        }
    }

    #[test]
    fn names_are_the_common_name_and_the_alternatives() {
        let names_of = |common_name: Option<&str>, alternatives: Vec<SanType>| {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            if let Some(name) = common_name {
                params.distinguished_name.push(DnType::CommonName, name);
            }
            params.subject_alt_names = alternatives;
            names(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        let mail = || SanType::Rfc822Name("alice@example.com".try_into().unwrap());
        let dns = || SanType::DnsName("laptop.example.com".try_into().unwrap());
        assert_eq!(names_of(Some("alice"), vec![]), ["alice"]);
        assert_eq!(names_of(None, vec![mail(), dns()]), ["alice@example.com", "laptop.example.com"]);
        assert_eq!(names_of(Some("älice"), vec![mail()]), ["älice", "alice@example.com"]);
        assert_eq!(names_of(Some("alice\0.evil"), vec![]), Vec::<String>::new());
        assert_eq!(names_of(None, vec![SanType::IpAddress([127, 0, 0, 1].into())]), Vec::<String>::new());
        assert_eq!(names(&CertificateDer::from_slice(b"junk")), Vec::<String>::new());
    }
}
