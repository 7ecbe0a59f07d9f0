//! Style as a test: what a reviewer would otherwise have to remember.
//!
//! Every rule is a function from text to complaints. It runs over the repository, and over a bad
//! snippet that it must complain about: a rule that cannot fail holds nothing.

#[path = "tidy/tokens.rs"]
mod tokens;

use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Token, code_of, tokens, used_modules, without_tests};

/// The modules of core, lowest layer first. A module may use the layers below its own and itself;
/// modules that share a line never see each other, but for the leaves.
const LAYERS: &[&[&str]] = &[
    LEAVES,
    &["content"],
    &["store"],
    // Rooms: one per protocol. The corridors above join them.
    &["discovery", "retrieval", "hosted", "encoding", "http"],
    &["fetch"],
    &["api", "serve", "pull", "offering"],
    &["download"],
    &["node"],
];
const LEAVES: &[&str] = &["ages", "bytes", "crypto", "time", "limits", "macros"];

/// The pure codecs inside a room: they see leaves, content and each other, never a machine.
const CODECS: &[&str] = &["wire", "xml", "text", "xaddr", "base64"];

/// What core must not name: it has no heap, no operating system, no clock.
const BANNED_IN_CORE: &[&[&str]] = &[
    &["std", "::"],
    &["alloc", "::"],
    &["extern", "crate"],
    &["unsafe"],
    &["Instant", "::", "now"],
    &["SystemTime"],
];

/// What real implementations do: the numbered list that comments cite.
const FACTS: &str = "docs/FACTS.md";

/// What reads a content, and gets to it by the engine of the API alone.
const READERS: &[&str] = &[
    "core/src/download/",
    "firmware-example/src/app.rs",
    "firmware-example/src/preload.rs",
    "host-sim/src/cmd/get",
];

/// What a reader names of the store is lent to the engine; of `fetch`, it asks who has and wants a segment.
const SURVEYS: &[&str] = &["crowd", "end_survey", "news", "survey", "is_hosted_alone"];

const MAX_FILE_LINES: usize = 900;

/// Of which core/src has every public function in the no-panic proof: what turns bytes from outside into values,
/// and back. A module is here with all below it.
const PROVEN: &[&str] = &[
    "ages",
    "bytes",
    "content",
    "discovery::wire",
    "discovery::xml",
    "encoding",
    "http::date",
    "http::select",
    "http::wire",
    "hosted::wire",
    "retrieval::set",
    "retrieval::wire",
    "store::seal",
];

/// The harness of that proof.
const PROOF: &str = "tests/no-panic/src";

/// Where `unsafe` may stand: what has registers, lent memory or a linker's symbols, and what C calls.
const UNSAFE_PLACES: &[&str] = &[
    "firmware-example/src/board",
    "hal-adapters/capi/",
    "tests/instructions/src/machine.rs",
    "tests/no-panic/src/main.rs",
    "tests/size/src/",
];

/// How many lines a codec has to say which document it follows.
const DOCUMENT_LINES: usize = 5;

#[test]
fn core_depends_downwards() {
    check("core/src", "rs", dependencies);
}

#[test]
fn readers_read_through_the_api() {
    for folder in ["core/src/download", "firmware-example/src", "host-sim/src/cmd"] {
        check(folder, "rs", readers);
    }
}

#[test]
fn core_is_bare() {
    check("core/src", "rs", bareness);
    let root = fs::read_to_string(repository().join("core/src/lib.rs")).unwrap();
    for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
        assert!(root.contains(attribute), "core/src/lib.rs: {attribute} is missing");
    }
}

#[test]
fn codecs_name_their_document() {
    check("core/src", "rs", document);
}

#[test]
fn codecs_are_proven() {
    let sources = files(&repository().join(PROOF)).into_iter().map(|path| fs::read_to_string(path).unwrap());
    let harness = tokens(&code_of(&sources.collect::<String>()));
    check("core/src", "rs", |path, text| proof(&harness, path, text));
    let there: Vec<String> = files(&repository().join("core/src"))
        .iter()
        .map(|path| module_path(&shown(path)).join("::"))
        .collect();
    for module in PROVEN {
        assert!(there.iter().any(|path| path == module), "there is no module `{module}`");
    }
}

#[test]
fn vectors_name_their_source() {
    let mut complaints = Vec::new();
    let vectors = repository().join("tests/vectors");
    for path in files(&vectors) {
        // The README beside the file, or one further up that names the folder too.
        let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&vectors));
        let found: Vec<Option<String>> = folders
            .map(|folder| source(&path.strip_prefix(folder).unwrap().to_string_lossy(), &readmes_in(folder)))
            .collect();
        if found.iter().all(Option::is_some) {
            complaints
                .extend(found.into_iter().flatten().take(1).map(|what| format!("{}: {what}", shown(&path))));
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn unsafe_code_is_in_few_places() {
    check("", "rs", carefulness);
}

#[test]
fn files_are_short() {
    check("", "rs", length);
}

#[test]
fn nothing_is_left_to_do() {
    check("", "rs", left_overs);
}

#[test]
fn no_path_of_one_machine() {
    for extension in ["rs", "md", "toml", "yml", "sh", "json", ""] {
        check("", extension, machine_paths);
    }
}

#[test]
fn facts_exist() {
    let page = fs::read_to_string(repository().join(FACTS)).unwrap();
    assert_eq!(numbering(&page), None, "{FACTS}");
    let known = fact_numbers(&page).count();
    check("", "rs", |_, text| facts(known, text));
}

#[test]
fn links_lead_somewhere() {
    check("", "md", links);
}

/// Complains where a module uses one that it must not see.
fn dependencies(path: &str, text: &str) -> Vec<String> {
    let module = module_path(path);
    let Some(own) = module.first() else { return Vec::new() };
    if is_test_file(path) {
        return Vec::new();
    }
    let Some(own_layer) = layer(own) else {
        return vec![format!("`{own}` is in no layer: name it in LAYERS of tests/tests/tidy.rs")];
    };
    let is_codec = module.last().is_some_and(|last| module.len() > 1 && CODECS.contains(&last.as_str()));
    let tokens = tokens(&without_tests(&code_of(text)));
    let mut complaints = Vec::new();
    for (line, used) in used_modules(&tokens, &module) {
        let Some(target) = used.first() else { continue };
        if target == own {
            if is_codec && used.get(1).is_some_and(|part| is_module(part) && !CODECS.contains(&part.as_str()))
            {
                complaints.push(format!("line {line}: a codec uses its machine `{}`", used.join("::")));
            }
            continue;
        }
        let Some(target_layer) = layer(target) else {
            complaints.push(format!("line {line}: `crate::{target}` is in no layer"));
            continue;
        };
        let leaves = own_layer == 0 && target_layer == 0;
        if target_layer >= own_layer && !leaves {
            complaints.push(format!("line {line}: `{own}` must not see `{target}`"));
        } else if is_codec && !LEAVES.contains(&target.as_str()) && target != "content" {
            complaints.push(format!("line {line}: a codec must not see `{target}`, only leaves and content"));
        }
    }
    complaints.dedup();
    complaints
}

/// Complains where a reader gets to blocks by itself.
fn readers(path: &str, text: &str) -> Vec<String> {
    if is_test_file(path) || !READERS.iter().any(|reader| path.starts_with(reader)) {
        return Vec::new();
    }
    let tokens = tokens(&without_tests(&code_of(text)));
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    // Elsewhere, such words are of counters.
    let is_lent = |at: usize| path.starts_with("core/") && text(at + 1) == ".";
    let mut complaints = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let reaches_around = match text(at) {
            "BlockId" | "SlotId" | "Job" => true,
            "storage" => is_lent(at),
            "fetch" => is_lent(at) && !SURVEYS.contains(&text(at + 2)),
            "jobs" => is_lent(at) && text(at + 2) != "len",
            _ => false,
        };
        if reaches_around {
            complaints.push(format!("line {}: `{}` is not for who reads", token.line, token.text));
        }
    }
    complaints
}

/// Complains about what core must not name, outside of its tests.
fn bareness(path: &str, text: &str) -> Vec<String> {
    if is_test_file(path) {
        return Vec::new();
    }
    let tokens = tokens(&without_tests(&code_of(text)));
    let mut complaints = Vec::new();
    for banned in BANNED_IN_CORE {
        for window in tokens.windows(banned.len()) {
            if window.iter().map(|token| token.text.as_str()).eq(banned.iter().copied()) {
                complaints.push(format!("line {}: `{}` in core", window[0].line, banned.join("")));
            }
        }
    }
    complaints
}

/// Complains about a codec that does not say in its first lines which document it follows.
fn document(path: &str, text: &str) -> Vec<String> {
    let named = text.lines().take(DOCUMENT_LINES).any(|line| {
        line.starts_with("//!") && (line.contains("[MS-") || line.contains("[RFC ") || line.contains("RFC "))
    });
    if path.ends_with("/wire.rs") && !named {
        return vec![format!("no [MS-...] or RFC in the first {DOCUMENT_LINES} lines")];
    }
    Vec::new()
}

/// Complains where the no-panic harness does not call a public function: by its name, and what takes no
/// `self` by the name of its type too.
fn proof(harness: &[Token], path: &str, text: &str) -> Vec<String> {
    let module = module_path(path).join("::");
    let is_proven = |root: &str| module == root || module.starts_with(&format!("{root}::"));
    if is_test_file(path) || !PROVEN.iter().any(|root| is_proven(root)) {
        return Vec::new();
    }
    let called =
        |name: &[&str]| harness.windows(name.len()).any(|part| part.iter().map(|it| &it.text).eq(name));
    let mut complaints = Vec::new();
    let tokens = tokens(&without_tests(&code_of(text)));
    let text = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    let mut owner = "";
    for at in 0..tokens.len() {
        if text(at) == "impl" && (at == 0 || ["}", ";", "]"].contains(&text(at - 1))) {
            let block = (at..).map(text).take_while(|&token| !["{", "", "where"].contains(&token));
            // The last name outside of angle brackets: behind `for`, behind paths.
            let mut depth = 0;
            owner = block.skip(1).fold("", |last, token| {
                depth += i32::from(token == "<") - i32::from(token == ">");
                let is_name = token.starts_with(|c: char| c.is_ascii_uppercase());
                if depth == 0 && is_name { token } else { last }
            });
        }
        let keyword = if text(at + 1) == "const" { at + 2 } else { at + 1 };
        if text(at) != "pub" || text(keyword) != "fn" {
            continue;
        }
        let name = text(keyword + 1);
        let open = (keyword..tokens.len()).find(|&at| text(at) == "(").unwrap_or(keyword);
        let has_self = (open..open + 5).any(|at| text(at) == "self");
        let is_free = owner.is_empty() || tokens[at].outermost;
        let is_called = match (is_free, has_self) {
            (false, false) => called(&[owner, "::", name]),
            (false, true) => called(&[".", name]) || called(&["::", name]),
            (true, _) => called(&[name, "("]) || called(&["(", name, ")"]) || called(&["::", name]),
        };
        if !is_called {
            let line = tokens[at].line;
            complaints.push(format!("line {line}: {PROOF} does not call `{name}`: see its codecs.rs"));
        }
    }
    complaints
}

/// Complains about a vector that `readmes` mention neither by name nor by pattern; `name` is its path
/// from their folder.
fn source(name: &str, readmes: &str) -> Option<String> {
    if is_readme(name) {
        return None;
    }
    let word_end = |c: char| c.is_whitespace() || "`|,;()[]\"'".contains(c);
    let mentioned = readmes
        .split(word_end)
        .map(|word| word.trim_end_matches(['.', ':']))
        // A pattern for everything names nothing.
        .filter(|word| word.chars().any(char::is_alphanumeric) && *word != "*.*")
        // `windows/` names all that the folder holds.
        .any(|pattern| matches(pattern, name) || pattern.ends_with('/') && name.starts_with(pattern));
    (!mentioned).then(|| "no README*.md in its folder or above says where it comes from".to_owned())
}

/// Complains about `unsafe` where nothing needs it.
fn carefulness(path: &str, text: &str) -> Vec<String> {
    if UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = tokens(&code_of(text));
    let found = tokens.iter().filter(|token| token.text == "unsafe");
    found.map(|token| format!("line {}: `unsafe`", token.line)).collect()
}

fn length(_: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    if lines > MAX_FILE_LINES {
        return vec![format!("{lines} lines, more than {MAX_FILE_LINES}")];
    }
    Vec::new()
}

fn left_overs(_: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let tokens = tokens(&code_of(text));
    for pair in tokens.windows(2) {
        if pair[1].text == "!" && ["todo", "unimplemented"].contains(&pair[0].text.as_str()) {
            complaints.push(format!("line {}: `{}!`", pair[0].line, pair[0].text));
        }
    }
    // In comments too, where the compiler's eye does not reach.
    let mark = concat!("FIX", "ME");
    for (number, line) in text.lines().enumerate() {
        if line.contains(mark) {
            complaints.push(format!("line {}: {mark}", number + 1));
        }
    }
    complaints
}

/// Complains about absolute paths that exist on somebody's machine only.
fn machine_paths(_: &str, text: &str) -> Vec<String> {
    let folders = ["tmp", "work", "root", "home", "mnt", "Users"].map(|folder| format!("/{folder}/"));
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for folder in &folders {
            let absolute = line.match_indices(folder.as_str()).any(|(at, _)| {
                // Within a longer path or an address it is somebody else's folder.
                !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}$~)>*".contains(c))
            });
            if absolute {
                complaints.push(format!("line {}: a path of one machine, {folder}", number + 1));
            }
        }
    }
    complaints
}

/// The number of every entry of the list of facts, as they stand.
fn fact_numbers(page: &str) -> impl Iterator<Item = usize> {
    page.lines().filter_map(|line| line.split_once(". ")?.0.parse().ok())
}

/// Complains unless the facts are 1, 2, 3 and so on: whatever displays the page counts for itself.
fn numbering(page: &str) -> Option<String> {
    let wrong = fact_numbers(page).zip(1..).find(|(number, expected)| number != expected);
    let empty = fact_numbers(page).next().is_none().then(|| "no facts".to_owned());
    wrong.map(|(number, expected)| format!("fact {number} stands where {expected} should")).or(empty)
}

/// Complains about a fact that is cited, alone or in a list, and is not one of 1 to `known`.
fn facts(known: usize, text: &str) -> Vec<String> {
    // A comment may break in the middle of a list.
    let marks = ["/", "!"];
    let tokens: Vec<Token> =
        tokens(text).into_iter().filter(|token| !marks.contains(&token.text.as_str())).collect();
    let word = |at: usize| tokens.get(at).map_or("", |token: &Token| token.text.as_str());
    let number = |at: usize| word(at).parse::<usize>().ok();
    let mut complaints = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let is_list = token.text.eq_ignore_ascii_case("facts");
        if !is_list && !token.text.eq_ignore_ascii_case("fact") {
            continue;
        }
        let mut next = at + 1;
        while let Some(first) = number(next) {
            let line = tokens[next].line;
            let last = if ["-", "–"].contains(&word(next + 1)) { number(next + 2) } else { None };
            next += if last.is_some() { 3 } else { 1 };
            if first == 0 || first > known || last.is_some_and(|last| last < first || last > known) {
                let to = last.map_or(String::new(), |last| format!("-{last}"));
                complaints.push(format!("line {line}: fact {first}{to} is not in {FACTS}"));
            }
            if !is_list || ![",", "and"].contains(&word(next)) {
                break;
            }
            next += if [word(next), word(next + 1)] == [",", "and"] { 2 } else { 1 };
        }
    }
    complaints
}

/// Complains about links of a page to files that are not there, or not in the repository.
fn links(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut complaints = Vec::new();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        if is_code || fence {
            continue;
        }
        // Every other piece between backticks is code.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let definition = prose.strip_prefix('[').and_then(|rest| rest.split_once("]:")).map(|(_, to)| to);
        for link in inline.chain(definition) {
            // Behind the address there may be a title, or a place within the page.
            let address = link.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>']);
            let file = address.split('#').next().unwrap_or_default();
            let is_elsewhere = address.contains("://") || address.starts_with("mailto:");
            let is_here = address.starts_with('#');
            if !is_elsewhere && !is_here && !is_in_repository(&folder.join(file)) {
                complaints.push(format!("line {}: no file `{address}`", number + 1));
            }
        }
    }
    complaints
}

/// Whether the path, from the top of the repository, exists and stays within.
fn is_in_repository(path: &Path) -> bool {
    let top = repository().canonicalize().unwrap();
    path.is_relative()
        && top.join(path).canonicalize().is_ok_and(|found| found.starts_with(&top) && found != top)
}

/// Runs a rule over all files with `extension` below `folder`, and fails with all its complaints.
fn check(folder: &str, extension: &str, rule: impl Fn(&str, &str) -> Vec<String>) {
    let mut complaints = Vec::new();
    let mut seen = 0;
    for path in files(&repository().join(folder)) {
        // Vectors are other people's words.
        let relative = shown(&path);
        let is_vector = relative.starts_with("tests/vectors/") && !is_readme(&name_of(&path));
        if path.extension().unwrap_or_default() != extension || is_vector {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        seen += 1;
        complaints.extend(rule(&relative, &text).into_iter().map(|what| format!("{relative}: {what}")));
    }
    assert!(seen > 0 || extension != "rs", "no file was checked below {folder:?}");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// All files below `folder`, but for what is built and what belongs to git.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = name_of(&path);
        if path.is_dir() {
            if !["target", ".git"].contains(&name.as_str()) {
                found.extend(files(&path));
            }
        } else if name != ".git" {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(repository()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn readmes_in(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| is_readme(&name_of(path))).map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn is_readme(name: &str) -> bool {
    name.starts_with("README") && name.ends_with(".md")
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn is_module(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// `core/src/http/wire.rs` is `http::wire`, `core/src/lib.rs` is the root.
fn module_path(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("core/src/").trim_end_matches(".rs");
    let parts = path.split('/').filter(|part| !["lib", "mod"].contains(part));
    parts.map(str::to_owned).collect()
}

/// Whether `name` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|i| rest.is_char_boundary(i) && matches(tail, &rest[i..]))
        }),
    }
}

mod the_rules_can_fail {
    use super::*;

    #[track_caller]
    fn complains(rule: impl Fn(&str, &str) -> Vec<String>, path: &str, bad: &str) {
        assert_eq!(rule(path, bad).len(), 1, "{bad}: {:?}", rule(path, bad));
    }

    #[track_caller]
    fn accepts(rule: impl Fn(&str, &str) -> Vec<String>, path: &str, good: &str) {
        assert_eq!(rule(path, good), Vec::<String>::new(), "{good}");
    }

    #[test]
    fn dependencies_upwards() {
        complains(dependencies, "core/src/content/v1.rs", "use crate::store::Slot;");
        complains(dependencies, "core/src/store/ram.rs", "use super::super::retrieval::Reply;");
        complains(dependencies, "core/src/bytes.rs", "fn f() { crate::content::v1::parse() }");
        complains(dependencies, "core/src/bytes.rs", "use super::content::v1;");
        complains(dependencies, "core/src/api/mod.rs", "use crate::serve;");
        complains(
            dependencies,
            "core/src/fetch.rs",
            "use crate::{bytes, time::{Instant}, api::{self, Code}};",
        );
        complains(dependencies, "core/src/novelty.rs", "");
        complains(dependencies, "core/src/fetch.rs", "use crate::novelty;");
        accepts(dependencies, "core/src/crypto.rs", "use crate::limits::MAX_DIGEST_BYTES;");
        accepts(dependencies, "core/src/node.rs", "use crate::{download, api::client, http};");
        accepts(dependencies, "core/src/lib.rs", "pub use crate::node::Node;");
    }

    #[test]
    fn codecs_without_a_proof() {
        let harness = "fn f() { keep(Query::parse(input).map(|it| it.len())); parse(input).map(hex); }";
        let harness = tokens(harness);
        let rule = |path: &str, text: &str| proof(&harness, path, text);
        let codec = "core/src/retrieval/wire/list.rs";
        complains(rule, codec, "pub fn emit(to: &mut [u8]) {}");
        complains(rule, codec, "impl<'a> Reply<'a> {\n    pub fn parse(data: &'a [u8]) -> Self {}\n}");
        complains(rule, codec, "impl Query {\n    pub const fn emit(&self) {}\n}");
        accepts(rule, codec, "impl Query {\n    pub fn parse(data: &[u8]) {}\n    pub fn len(&self) {}\n}");
        accepts(rule, codec, "pub fn parse(data: &[u8]) {}\npub(crate) fn emit() {}\npub fn hex() {}");
        accepts(rule, "core/src/retrieval/wire/tests.rs", "pub fn emit(to: &mut [u8]) {}");
        accepts(rule, "core/src/node.rs", "pub fn emit(to: &mut [u8]) {}");
    }

    #[test]
    fn readers_that_help_themselves() {
        for bad in ["use crate::store::BlockId;", "parts.storage.find(it);", "parts.fetch.start(it);"] {
            complains(readers, "core/src/download/blocks.rs", bad);
        }
        complains(readers, "core/src/download/blocks.rs", "parts.jobs.push(it);");
        complains(readers, "host-sim/src/cmd/get/task.rs", "use peerdist_core::store::BlockId;");
        let good = "parts.fetch.survey(it); client.segment(parts.storage, it); parts.jobs.len();";
        accepts(readers, "core/src/download/blocks.rs", good);
        accepts(readers, "host-sim/src/cmd/peer.rs", "node.storage.find(it);");
    }

    #[test]
    fn rooms_that_see_each_other() {
        complains(dependencies, "core/src/retrieval/client.rs", "use crate::http::conn;");
        complains(dependencies, "core/src/retrieval/client.rs", "use super::super::http::conn;");
        complains(dependencies, "core/src/hosted/mod.rs", "use super::retrieval::wire;");
        accepts(
            dependencies,
            "core/src/retrieval/client.rs",
            "use super::wire; use crate::retrieval::server;",
        );
    }

    #[test]
    fn codecs_that_see_machines() {
        complains(dependencies, "core/src/discovery/wire.rs", "use super::client::Probe;");
        complains(dependencies, "core/src/discovery/wire.rs", "use crate::discovery::{xml, server};");
        complains(dependencies, "core/src/discovery/wire.rs", "use crate::store::Slot;");
        accepts(dependencies, "core/src/discovery/wire.rs", "use super::xml; use crate::content::SegmentId;");
    }

    #[test]
    fn comments_literals_and_tests_are_not_code() {
        let apart = "// crate::node\n/* crate::node /* */ crate::node */ const A: &str = \"crate::node \\\" x\";\n\
                     const B: &str = r#\"crate::node \" crate::node\"#; const C: char = '\"';\n\
                     fn f<'a>(x: &'a u8) {}\n#[cfg(test)]\nmod tests { use crate::node; fn f() {} }\n";
        accepts(dependencies, "core/src/bytes.rs", apart);
        complains(dependencies, "core/src/bytes.rs", &format!("{apart} use crate::node;"));
        accepts(dependencies, "core/src/http/tests.rs", "use crate::node::Node;");
    }

    #[test]
    fn core_with_a_world() {
        for bad in [
            "use std::vec::Vec;",
            "extern crate alloc;",
            "fn f() -> alloc::string::String {}",
            "fn f() { unsafe { g() } }",
            "let now = Instant::now();",
            "let now: SystemTime;",
        ] {
            complains(bareness, "core/src/bytes.rs", bad);
        }
        accepts(bareness, "core/src/lib.rs", "#![no_std]\n#![forbid(unsafe_code)]\n//! std::vec");
        accepts(bareness, "core/src/bytes.rs", "#[cfg(test)]\nmod tests { use std::vec::Vec; }");
    }

    #[test]
    fn codecs_without_a_document() {
        complains(document, "core/src/http/wire.rs", "//! Heads of messages.");
        complains(document, "core/src/http/wire.rs", "//! Heads.\n\n\n\n\n//! RFC 9112");
        accepts(document, "core/src/http/wire.rs", "//! RFC 9112: heads of messages.");
        accepts(document, "core/src/discovery/wire.rs", "//! [MS-PCCRD] Messages.");
        accepts(document, "core/src/http/conn.rs", "//! Framing.");
    }

    #[test]
    fn vectors_without_a_source() {
        assert!(source("blob.bin", "").is_some());
        assert!(source("blob.bin", "Everything here, `*` and `*.*`, is from somewhere.").is_some());
        assert!(source("blob.bin", "| `other-*.bin` | Windows 7 |").is_some());
        assert!(source("v1/blob.bin", "| `blob.bin` | Windows 7 |").is_some());
        assert!(source("v1/blob.bin", "- `v2/`: Windows 8").is_some());
        assert_eq!(source("v1/blob.bin", "| `v1/*.bin` | Windows 7 |"), None);
        assert_eq!(source("v1/blob.bin", "- `v1/`: Windows 7"), None);
        assert_eq!(source("blob.bin", "| `blob.bin` | Windows 7 |"), None);
        assert_eq!(source("v1-0001.bin", "The `v1-*.bin` are generated."), None);
        assert_eq!(source("README.md", ""), None);
    }

    #[test]
    fn unsafe_code() {
        complains(carefulness, "host-sim/src/main.rs", "fn f() { unsafe { g() } }");
        complains(carefulness, "hal-adapters/src/std.rs", "unsafe impl Send for A {}");
        accepts(carefulness, "hal-adapters/capi/src/caller.rs", "fn f() { unsafe { g() } }");
        accepts(carefulness, "xtask/src/main.rs", "#![forbid(unsafe_code)] // unsafe");
    }

    #[test]
    fn long_files() {
        complains(length, "core/src/bytes.rs", &"\n".repeat(MAX_FILE_LINES + 1));
        accepts(length, "core/src/bytes.rs", &"\n".repeat(MAX_FILE_LINES));
    }

    #[test]
    fn unfinished_code() {
        complains(left_overs, "xtask/src/main.rs", "fn f() { todo!() }");
        complains(left_overs, "xtask/src/main.rs", "fn f() { unimplemented!(\"later\") }");
        complains(left_overs, "xtask/src/main.rs", concat!("// FIX", "ME: later"));
        accepts(left_overs, "xtask/src/main.rs", "let todo = 1; // todo!() is banned");
    }

    #[test]
    fn facts_that_do_not_exist() {
        // The word is never written out before a number: the rule reads this file too.
        let cite = |list: &str| format!("// As {} say.", list.replace('F', "fact"));
        for bad in
            ["F 0", "(F 52)", "F\n    /// 52", "Fs 7, 52", "Fs 1 and 52", "Fs 50-52", "Fs 9, and 52, 3"]
        {
            complains(|_, text| facts(51, text), "core/src/bytes.rs", &cite(bad));
        }
        complains(|_, text| facts(51, text), "core/src/bytes.rs", &cite("Fs 1,\n//! 52"));
        for good in ["F 51", "F 7, 52 bytes", "Fs 1, 2 and 49–51", "artiF 99", "Fs: 99", "Fs 7 and all 99"]
        {
            accepts(|_, text| facts(51, text), "core/src/bytes.rs", &cite(good));
        }
    }

    #[test]
    fn facts_out_of_order() {
        assert!(numbering("# Facts").is_some());
        assert!(numbering("1. one\n3. three").is_some());
        assert!(numbering("1. one\n1. one").is_some());
        assert_eq!(numbering("# Facts\n1. one\n   more\n\n## Then\n2. two"), None);
    }

    #[test]
    fn links_that_lead_nowhere() {
        for bad in [
            "See [this](nowhere.md).",
            "[this](nowhere.md#part \"title\") and [that](README.md)",
            "[this](../README.md)",
            "[this](/etc)",
            "[this]()",
            "[this]: docs/nowhere.md",
            "```\n```\n`code` [`this`](nowhere.md)",
        ] {
            complains(links, "README.md", bad);
        }
        complains(links, "docs/FACTS.md", "[this](README.md)");
        for good in [
            "[a](docs/FACTS.md#facts), [b](docs), [c](#part), [d](<https://example.com/x>)",
            "[a]: LICENSE-MIT",
            "`[a](nowhere.md)`\n```\n[a](nowhere.md)\n```",
        ] {
            accepts(links, "README.md", good);
        }
        accepts(links, "docs/FACTS.md", "[this](../README.md)");
    }

    #[test]
    fn paths_of_one_machine() {
        complains(machine_paths, "README.md", concat!("cd /ho", "me/ann/peerdist"));
        complains(machine_paths, "x.toml", concat!("path = \"/tm", "p/x\""));
        accepts(machine_paths, "README.md", "cp a target/tmp/b; http://host/home/; GET /work");
    }
}
