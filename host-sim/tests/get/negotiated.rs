//! Clients that tell a hosted cache who they are, by tickets of a realm of Kerberos that is made for that.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use libgssapi::context::{SecurityContext as _, ServerCtx};
use peerdist_tests::check::content;
use serde_json::json;

use super::asking::{Asking, Manners};
use super::hosted::{post_by, status_when};
use super::place::{Peer, Place, origin};
use super::secured::hosted;

/// In the environment of the process that is a member of the realm.
const MEMBER: &str = "PEERDIST_TEST_REALM";

const CONFIG: &str = "\
[libdefaults]
    default_realm = BRANCH.TEST
    dns_canonicalize_hostname = false
    dns_lookup_kdc = false
    dns_lookup_realm = false
    rdns = false
    udp_preference_limit = 1
[realms]
    BRANCH.TEST = {
        kdc = @address@:8800
        database_name = @folder@/principal
        key_stash_file = @folder@/stash
        acl_file = @folder@/acl
    }
[kdcdefaults]
    kdc_listen = @address@:8800
    kdc_tcp_listen = @address@:8800
[logging]
    kdc = FILE:@folder@/kdc.log
";

/// Makes a realm with a user, who has a ticket, and the hosted cache at address 4; its server, and what its members have
/// in their environments.
fn realm(place: &Place) -> (Peer, Vec<(&'static str, String)>) {
    let path = |name: &str| place.path(name).display().to_string();
    let config = CONFIG.replace("@address@", &place.address(9).to_string());
    fs::write(
        place.path("krb5.conf"),
        config.replace("@folder@", &place.folder.path().display().to_string()),
    )
    .expect("room");
    let env = vec![
        ("KRB5_CONFIG", path("krb5.conf")),
        ("KRB5_KDC_PROFILE", path("krb5.conf")),
        ("KRB5_KTNAME", path("keytab")),
        ("KRB5CCNAME", path("tickets")),
        ("KRB5RCACHEDIR", path("")),
        (MEMBER, path("")),
    ];
    let run = |program: &str, arguments: &[&str], input: &str| {
        let mut command = Command::new(program);
        command.args(arguments).envs(env.clone()).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        if output.status.success() { Ok(()) } else { Err(said.concat()) }
    };
    run("kdb5_util", &["create", "-s", "-P", "master"], "").expect("a realm");
    let service = format!("HTTP/{}", place.address(4));
    for order in [
        "add_principal -pw secret user".into(),
        format!("add_principal -randkey {service}"),
        format!("ktadd -k {} {service}", path("keytab")),
    ] {
        run("kadmin.local", &["-q", &order], "").expect("it is done");
    }
    let mut server = Command::new("krb5kdc");
    server.arg("-n").envs(env.clone()).stdout(Stdio::null()).stderr(Stdio::null());
    let server = Peer(server.spawn().expect("it starts"));
    let begun = Instant::now();
    while let Err(said) = run("kinit", &["user"], "secret\n") {
        assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
        thread::sleep(Duration::from_millis(50));
    }
    fs::copy(path("tickets"), path("ticket")).expect("room");
    (server, env)
}

/// What Kerberos has to say of a token.
fn judge(token: Option<&str>) -> (String, bool) {
    let Some(token) = token else { return (String::new(), false) };
    let mut context = ServerCtx::new(None);
    let answer = context.step(&BASE64_STANDARD.decode(token).expect("Base64"), None).expect("of our realm");
    let name = context.source_name().and_then(|name| name.display_name()).expect("somebody");
    assert_eq!(&name[..], b"user@BRANCH.TEST");
    let answer = answer.map_or_else(String::new, |answer| BASE64_STANDARD.encode(&answer[..]));
    (answer, context.is_complete())
}

fn nobody(_: IpAddr, _: &[u8]) -> (String, Vec<u8>) {
    panic!("nothing passes")
}

#[test]
fn told_by_kerberos() {
    if std::env::var_os(MEMBER).is_none() {
        // GSS-API has what it needs from the environment of its process.
        let place = Place::new(81);
        let (_server, env) = realm(&place);
        let test = std::env::current_exe().expect("this");
        let member = Command::new(test).args(["--exact", "negotiated::told_by_kerberos"]).envs(env).status();
        assert!(member.expect("it starts").success());
        return;
    }
    let place = Arc::new(Place::new(81));
    offers_are_taken(&place, false);
    offers_are_taken(&Arc::new(Place::new(81)), true);

    let refusing = |challenge: &'static str, closes| {
        let judge = Box::new(move |_: Option<&str>| (challenge.to_string(), false));
        Asking::open(&place, Manners { judge, onward: Box::new(nobody), closes })
    };
    let (asking, end) = (refusing("", false), "; for now it is offered nothing");
    let start = "it asks for authentication (401), ";
    assert_eq!(asking.refuses(&place, &[]), format!("{start}and refuses the ticket that it was given{end}"));
    assert_eq!(asking.came(), [false, true]);

    let has_no_ticket = |asking: &Asking| {
        let without = asking.refuses(&place, &[("KRB5CCNAME", "/nowhere/tickets")]);
        let none = without.strip_prefix(&format!("{start}and there is nothing to tell it: "));
        assert!(none.is_some_and(|none| none.contains("/nowhere/tickets")), "{without}");
        assert_eq!(asking.came(), [false]);
    };
    has_no_ticket(&asking);

    // A server of the realm that is silent, and no ticket for that service is here.
    let home = std::env::var(MEMBER).expect("a member");
    let silent = TcpListener::bind((place.address(8), 8_800)).expect("a port");
    let config = fs::read_to_string(format!("{home}/krb5.conf")).expect("ours");
    let config = config.replace(&place.address(9).to_string(), &place.address(8).to_string());
    fs::write(place.path("krb5.conf"), config).expect("room");
    let config = place.path("krb5.conf").display().to_string();
    let in_vain =
        asking.refuses(&place, &[("KRB5_CONFIG", &config), ("KRB5CCNAME", &format!("{home}/ticket"))]);
    assert_eq!(in_vain, format!("{start}and there is nothing to tell it: no ticket came in time{end}"));
    assert_eq!(asking.came(), [false]);
    drop(silent);

    // What it says in return is no token of Kerberos.
    let asking = refusing("AAECAw==", false);
    let nonsense = asking.refuses(&place, &[]);
    assert!(nonsense.starts_with(&format!("{start}and there is nothing to tell it: ")), "{nonsense}");
    assert_eq!(asking.came(), [false, true]);

    has_no_ticket(&refusing("", true));
}

/// A client offers what it got to a hosted cache that lets no message pass without a ticket; the next one has it from
/// there.
fn offers_are_taken(place: &Arc<Place>, closes: bool) {
    let len = 700_000;
    let site = place.site(origin(len, false));
    let options = ["--tls-port", "0", "--tls-self-signed", "--admin", "127.0.0.1:0"];
    let (_cache, secured, plain, admin) = hosted(place, "hosted", &options);
    let shared = place.clone();
    let onward = Box::new(move |from: IpAddr, message: &[u8]| {
        let IpAddr::V4(from) = from else { panic!("{from}") };
        post_by(&shared, from, &secured, message, &["-k"])
    });
    let asking = Asking::open(place, Manners { judge: Box::new(judge), onward, closes });

    let first = asking.get(place, &site.url(), "one", plain.port(), &[]);
    first.assert_good();
    status_when(admin, |it| it["HostedCacheServer"]["BytesReceived"]["Other"] == json!(len));
    // The offer, asked about and told; then what describes it, and perhaps more, which says at once who sends it.
    let came = asking.came();
    assert!(came.len() >= 3 && !came[0] && came[1..].iter().all(|told| *told), "{came:?}");
    let got = asking.get(place, &site.url(), "two", plain.port(), &[]);
    got.assert_good();
    assert_eq!(got.source("hosted"), len as u64, "{}", got.json);
    assert!(place.read("two") == content(len));
}
