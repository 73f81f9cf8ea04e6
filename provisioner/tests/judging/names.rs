//! Names and extensions of requests: what a node may be called and may ask for.

use der::Decode;
use der::asn1::{Any, SetOfVec};
use provisioner::code::Code;
use provisioner::judge::RequestPolicy;
use provisioner::judge::request::judge;
use x509_cert::attr::Attribute;

use crate::forge::{CN, DNS, Forge, IDENTITY, UTF8, cn, extension, oid, pem, sans, subject, tlv};
use crate::requests::{code, with_policy};

pub(crate) fn asking_for(extensions: &[x509_cert::ext::Extension]) -> Option<Code> {
    code(Forge::new().extensions(extensions).pem())
}

#[test]
fn a_request_may_name_what_it_gets_anyway() {
    let usage = extension("2.5.29.15", vec![3, 2, 7, 0x80]);
    let purposes = extension(
        "2.5.29.37",
        tlv(
            0x30,
            &[
                tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 2]),
                tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 1]),
            ]
            .concat(),
        ),
    );
    let names = sans(&[(DNS, IDENTITY.as_bytes())]);
    assert_eq!(asking_for(&[usage, purposes, names]), None);
}

#[test]
fn rule_2_exactly_one_common_name_in_plain_text() {
    let own = IDENTITY.as_bytes();
    for name in [
        subject(&[]),
        subject(&[&[("2.5.4.10", UTF8, b"ops")]]),
        subject(&[&[(CN, UTF8, own)], &[(CN, UTF8, b"n2.example.net")]]),
        subject(&[&[(CN, UTF8, b"n2.example.net")], &[(CN, UTF8, own)]]),
        subject(&[&[(CN, UTF8, own)], &[(CN, UTF8, own)]]),
        // Both in one multi-valued RDN.
        subject(&[&[(CN, UTF8, own), (CN, UTF8, b"n2.example.net")]]),
        // BMPString, T61String, OCTET STRING, and text that is none.
        subject(&[&[(CN, 0x1e, b"\0n\x001")]]),
        subject(&[&[(CN, 0x14, own)]]),
        subject(&[&[(CN, 0x04, own)]]),
        subject(&[&[(CN, UTF8, b"\xff\xfe")]]),
    ] {
        assert_eq!(
            code(Forge::new().subject(name).pem()),
            Some(Code::CsrSubjectCnCount)
        );
    }
    // UniversalString, which the library cannot write: its tag is put in afterwards.
    let der = Forge::new().subject(cn(b"n001")).der();
    let at = der.windows(4).position(|bytes| bytes == b"n001").unwrap();
    let mut odd = der;
    odd[at - 2] = 0x1c;
    assert_eq!(code(pem(&odd)), Some(Code::CsrSubjectCnCount));
    for tag in [UTF8, 0x13, 0x16] {
        let name = subject(&[&[(CN, tag, own)]]);
        assert_eq!(code(Forge::new().subject(name).pem()), None, "{tag:#x}");
    }
}

#[test]
fn rules_15_and_16_syntax_of_the_name() {
    for name in [
        &b""[..],
        b"n1.example.net\0.evil.com",
        b"n1.example.net\n",
        b"N1.example.net",
        b"n1.example.net.",
        b"*.example.net",
        b"../../etc/passwd",
        "\u{202e}n1.example.net".as_bytes(),
        "n\u{456}.example.net".as_bytes(),
        b"xn--n1-abc.example.net",
        b"-n1.example.net",
        &[b'a'; 65],
    ] {
        assert_eq!(
            code(Forge::new().subject(cn(name)).pem()),
            Some(Code::IdentitySyntax),
            "{name:?}"
        );
    }
    // The identity beside it is held to the same grammar.
    let refusal = judge(
        Forge::new().pem().as_bytes(),
        "N1.example.net",
        &RequestPolicy::default(),
    );
    assert_eq!(refusal.unwrap_err().code, Code::IdentitySyntax);
}

#[test]
fn rule_1_another_node_s_name() {
    let refusal = with_policy(
        Forge::new()
            .subject(cn(b"db1.example.net"))
            .pem()
            .as_bytes(),
        &RequestPolicy::default(),
    )
    .unwrap_err();
    assert_eq!(refusal.code, Code::CsrIdentityMismatch);
    assert!(refusal.message.contains("db1.example.net"));
    assert!(refusal.message.contains(IDENTITY));
}

#[test]
fn rule_3_other_attributes() {
    let own = IDENTITY.as_bytes();
    for name in [
        subject(&[&[("2.5.4.10", UTF8, b"system:masters")], &[(CN, UTF8, own)]]),
        subject(&[&[(CN, UTF8, own), ("2.5.4.11", UTF8, b"ops")]]),
        subject(&[
            &[(CN, UTF8, own)],
            &[("1.2.840.113549.1.9.1", 0x16, b"a@b")],
        ]),
    ] {
        assert_eq!(
            code(Forge::new().subject(name).pem()),
            Some(Code::CsrSubjectAttr)
        );
    }
}

#[test]
fn rule_7_powers_of_an_authority() {
    let ca = extension("2.5.29.19", tlv(0x30, &[1, 1, 0xff]));
    assert_eq!(
        asking_for(std::slice::from_ref(&ca)),
        Some(Code::CsrCaRequested)
    );
    let cert_sign = extension("2.5.29.15", vec![3, 2, 2, 0x04]);
    assert_eq!(asking_for(&[cert_sign]), Some(Code::CsrCaRequested));
    let crl_sign = extension("2.5.29.15", vec![3, 2, 1, 0x02]);
    assert_eq!(asking_for(&[crl_sign]), Some(Code::CsrCaRequested));
    // The worst is named first, wherever it stands.
    let names = sans(&[(DNS, b"*.example.net")]);
    let other = extension("2.5.29.30", tlv(0x30, &[]));
    assert_eq!(asking_for(&[names, other, ca]), Some(Code::CsrCaRequested));
}

#[test]
fn rule_7_other_extensions() {
    for (kind, value) in [
        ("2.5.29.19", tlv(0x30, &[])),
        ("2.5.29.30", tlv(0x30, &[])),
        ("2.5.29.14", tlv(4, &[1; 20])),
        ("1.2.3.4", vec![5, 0]),
        // The extended key usages any and code signing.
        ("2.5.29.37", tlv(0x30, &tlv(6, &[0x55, 0x1d, 0x25, 0]))),
        (
            "2.5.29.37",
            tlv(0x30, &tlv(6, &[0x2b, 6, 1, 5, 5, 7, 3, 3])),
        ),
    ] {
        assert_eq!(
            asking_for(&[extension(kind, value)]),
            Some(Code::CsrExtension),
            "{kind}"
        );
    }
    let mut critical = extension("1.2.3.4", vec![5, 0]);
    critical.critical = true;
    assert_eq!(asking_for(&[critical]), Some(Code::CsrExtension));
    let own = sans(&[(DNS, IDENTITY.as_bytes())]);
    assert_eq!(
        asking_for(&[own.clone(), own.clone()]),
        Some(Code::CsrExtension)
    );
    // Two lists of extensions, and attributes that are none.
    let twice = Forge::new()
        .extensions(std::slice::from_ref(&own))
        .extensions(&[sans(&[(DNS, b"x")])]);
    assert_eq!(code(twice.pem()), Some(Code::CsrExtension));
    let mut password = Forge::new();
    password.attributes.push(Attribute {
        oid: oid("1.2.840.113549.1.9.7"),
        values: SetOfVec::try_from(vec![Any::from_der(&tlv(UTF8, b"secret")).unwrap()]).unwrap(),
    });
    assert_eq!(code(password.pem()), Some(Code::CsrExtension));
    // A known extension in a wrong form.
    assert_eq!(
        asking_for(&[extension("2.5.29.17", vec![5, 0])]),
        Some(Code::CsrDer)
    );
}

#[test]
fn rules_4_to_6_alternative_names() {
    let own = (DNS, IDENTITY.as_bytes());
    let names = |names: &[(u8, &[u8])]| asking_for(&[sans(names)]);
    assert_eq!(
        names(&[own, (DNS, b"*.example.net")]),
        Some(Code::CsrSanWildcard)
    );
    assert_eq!(
        names(&[own, (DNS, b"a*.example.net")]),
        Some(Code::CsrSanWildcard)
    );
    // A wildcard is named before any other fault of the names.
    assert_eq!(
        names(&[(0x86, b"spiffe://x"), (DNS, b"*")]),
        Some(Code::CsrSanWildcard)
    );
    for (tag, value) in [
        (0x81, &b"root@example.net"[..]),
        (0x86, b"spiffe://example.net/n1"),
        (0xa0, &[6, 3, 0x2a, 3, 4, 0xa0, 2, 5, 0]),
        (0xa4, &[0x30, 0]),
        (0x88, &[0x2a, 3, 4]),
        (0xa3, &[0x30, 0]),
        (DNS, "n\u{e4}.example.net".as_bytes()),
        (0x87, &[10, 0, 0]),
    ] {
        assert_eq!(
            names(&[own, (tag, value)]),
            Some(Code::CsrSanKind),
            "{tag:#x}"
        );
    }
    assert_eq!(names(&[own, (0x87, &[10, 1, 2, 3])]), Some(Code::CsrSanIp));
    assert_eq!(names(&[own, (0x87, &[0; 16])]), Some(Code::CsrSanIp));
    let many: Vec<(u8, &[u8])> = vec![own; 17];
    assert_eq!(names(&many), Some(Code::CsrSanCount));
    for wrong in [
        &[(DNS, &b"db1.example.net"[..])][..],
        &[own, (DNS, b"broker.example.net")],
        &[own, own],
        &[(DNS, b"N1.example.net")],
        &[],
    ] {
        assert_eq!(names(wrong), Some(Code::CsrSanSet), "{wrong:?}");
    }
}
