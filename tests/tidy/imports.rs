//! Which file of `src` imports which: the paths of its code, followed through what other files export again.
//!
//! Methods are not seen here: a file that calls one names no path. Whether an import is allowed is not known here.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, has_word, is_name_char};

/// A file of `src` and the files that it imports. `mod x;` alone is no import, and neither is an export of a child
/// that the file does not name again.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// A path that is followed through this many exports is a circle of exports.
const EXPORTS_MAX: usize = 8;

/// The imports of production code.
pub fn imports(files: &[File]) -> Imports {
    let is_production = |file: &&File| file.is_rust() && file.is_in("src") && !file.is_test();
    let modules: BTreeMap<_, _> =
        files.iter().filter(is_production).map(|file| (module_path(&file.path), Module::new(file))).collect();
    let imports_of = |(path, module): (&Vec<String>, &Module)| {
        let named = module.paths.iter().filter_map(|segments| resolve(&modules, path, segments, 0));
        let files: BTreeSet<_> = named.filter(|file| *file != module.file).map(str::to_owned).collect();
        (module.file.clone(), files)
    };
    modules.iter().map(imports_of).collect()
}

/// What `file` reaches by imports, and by which file it got to each.
fn reached<'a>(imports: &'a Imports, file: &'a str) -> BTreeMap<&'a str, &'a str> {
    let mut from = BTreeMap::new();
    let mut waiting = vec![file];
    while !waiting.is_empty() {
        let mut next = Vec::new();
        for at in waiting {
            for other in imports.get(at).into_iter().flatten() {
                from.entry(other.as_str()).or_insert_with(|| {
                    next.push(other.as_str());
                    at
                });
            }
        }
        waiting = next;
    }
    from
}

/// The circles of imports: of each set of files that all reach each other, the shortest one through its first file.
pub fn circles(imports: &Imports) -> Vec<Vec<&str>> {
    let mut circles: Vec<Vec<&str>> = Vec::new();
    let mut done = BTreeSet::new();
    for file in imports.keys().map(String::as_str) {
        let from = reached(imports, file);
        if !from.contains_key(file) || done.contains(file) {
            continue;
        }
        done.extend(from.keys().copied().filter(|other| reached(imports, other).contains_key(file)));
        let mut circle = vec![file];
        let mut at = from[file];
        while at != file {
            circle.push(at);
            at = from[at];
        }
        circle[1..].reverse();
        circles.push(circle);
    }
    circles
}

/// One file as a module: what it names, and under which names others can reach what it imports.
struct Module {
    file: String,
    /// The paths that are imports.
    paths: Vec<Vec<String>>,
    /// What a `use` of the file calls a path.
    names: BTreeMap<String, Vec<String>>,
}

impl Module {
    fn new(file: &File) -> Module {
        let (uses, rest) = split_uses(file);
        let mut module = Module { file: file.path.clone(), paths: Vec::new(), names: BTreeMap::new() };
        for (is_export, tree) in &uses {
            for (name, path) in expand(tree) {
                // An export is an import too if the file names it again.
                if !is_export || rest.lines().any(|line| has_word(line, &name)) {
                    module.paths.push(path.clone());
                }
                module.names.insert(name, path);
            }
        }
        let inline = inline_paths(&rest);
        let of_a_name = |path: Vec<String>| match module.names.get(&path[0]) {
            Some(full) => [&full[..], &path[1..]].concat(),
            None => path,
        };
        let inline: Vec<_> = inline.into_iter().map(of_a_name).collect();
        module.paths.extend(inline);
        module
    }
}

/// `[ws, frame]` for `src/ws/frame.rs`; nothing for the root.
fn module_path(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect()
}

/// The file in which the path's item stands, seen from the module `at`.
fn resolve<'a>(
    modules: &'a BTreeMap<Vec<String>, Module>,
    at: &[String],
    path: &[String],
    exports: usize,
) -> Option<&'a str> {
    let mut place = at.to_vec();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" | "fanfare" => (place, rest) = (Vec::new(), &rest[1..]),
        "self" => rest = &rest[1..],
        "super" => {
            while rest.first().is_some_and(|name| name == "super") {
                place.pop()?;
                rest = &rest[1..];
            }
        }
        child => {
            // The binary's modules stand beside the library's.
            place.retain(|name| name != "main");
            place.push(child.to_owned());
            modules.get(&place)?;
            rest = &rest[1..];
        }
    }
    while let Some((name, after)) = rest.split_first() {
        place.push(name.clone());
        if !modules.contains_key(&place) {
            place.pop();
            break;
        }
        rest = after;
    }
    let module = modules.get(&place)?;
    let exported = rest.first().and_then(|name| module.names.get(name));
    match exported {
        Some(path) if exports < EXPORTS_MAX => {
            let path = [&path[..], &rest[1..]].concat();
            resolve(modules, &place, &path, exports + 1).or(Some(&module.file))
        }
        _ => Some(&module.file),
    }
}

/// The trees of the `use` declarations before the tests, and whether each is an export; and the code without them.
fn split_uses(file: &File) -> (Vec<(bool, String)>, String) {
    let (mut uses, mut rest) = (Vec::new(), String::new());
    let mut lines = file.code_before_tests().map(|(_, line)| line);
    let mut is_for_tests = false;
    while let Some(line) = lines.next() {
        let code = line.trim();
        let (visibility, declaration) = match code.split_once("use ") {
            Some((visibility, declaration))
                // Not at the end of a name.
                if visibility.is_empty() || visibility.starts_with("pub") && visibility.ends_with(' ') =>
            {
                (visibility, declaration)
            }
            _ => {
                is_for_tests = code == "#[cfg(test)]" || is_for_tests && code.starts_with("#[");
                // Where an item is visible is no import.
                let (before, after) = line.split_once("pub(in ").unwrap_or((line, ""));
                rest += before;
                rest += after.split_once(')').map_or(after, |(_, item)| item);
                rest.push('\n');
                continue;
            }
        };
        let mut tree = declaration.to_owned();
        while !tree.contains(';') {
            tree += lines.next().expect("a use declaration ends");
        }
        if !std::mem::take(&mut is_for_tests) {
            let tree = tree.split_once(';').expect("it ends so").0;
            uses.push((!visibility.is_empty(), tree.replace(" as ", "@").replace([' ', '\t'], "")));
        }
    }
    (uses, rest)
}

/// The paths of a `use` tree without blanks, each with the name that it gets: `b` and `d` of `a::{b,c@d}`.
fn expand(tree: &str) -> Vec<(String, Vec<String>)> {
    let (prefix, group) = match tree.split_once('{') {
        Some((prefix, group)) => (prefix, group.strip_suffix('}').expect("a group ends where the tree does")),
        None => {
            let (path, name) = tree.split_once('@').unwrap_or((tree, ""));
            let mut segments: Vec<_> = path.split("::").map(str::to_owned).collect();
            if segments.len() > 1 && segments.last().is_some_and(|last| last == "self" || last == "*") {
                segments.pop();
            }
            let name = if name.is_empty() { segments.last().expect("a path has a part") } else { name };
            return vec![(name.to_owned(), segments)];
        }
    };
    let branches = split_at_commas(group).into_iter().filter(|branch| !branch.is_empty());
    branches.flat_map(|branch| expand(&format!("{prefix}{branch}"))).collect()
}

/// Split at the commas that are in no inner group.
fn split_at_commas(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut branches) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    branches.push(&group[start..]);
    branches
}

/// The paths of more than one part in code without `use` declarations.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let words = code.split(|c| !is_name_char(c) && c != ':');
    let paths = words.map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| path.len() > 1 && !path[0].is_empty() && !path[0].contains(':')).collect()
}

fn of(texts: &[(&str, &str)]) -> Imports {
    imports(&texts.iter().map(|(path, text)| File::new(path, text)).collect::<Vec<_>>())
}

#[test]
fn an_import_leads_to_the_file_in_which_the_item_stands() {
    let imports = of(&[
        ("src/lib.rs", "pub mod hub;\npub mod server;"),
        ("src/hub/mod.rs", "mod log;\nmod feed;\npub use feed::Feed;\npub use log::{Cursor, Log as Bytes};"),
        ("src/hub/log.rs", "pub struct Log;\n#[cfg(test)]\nuse super::Feed;"),
        ("src/hub/feed.rs", "use super::{\n    Bytes, // crate::server\n};\n"),
        ("src/server/mod.rs", "mod start;\npub use start::Server;\nfn f(server: Server) {}"),
        ("src/server/start.rs", "use crate::hub;\nfn f() { hub::Cursor::at(); std::fs::read(); Self::f() }"),
        (
            "src/server/table.rs",
            "fn f() { crate::hub::Feed::new() }\n#[cfg(test)]\nmod tests {\n use super::super::start;",
        ),
        ("src/server/table_tests.rs", "use super::super::start;"),
        ("src/main.rs", "mod cli;\nuse fanfare::server::Server;\nfn main() { cli::parse() }"),
        ("src/cli.rs", ""),
    ]);
    let of = |file: &str| imports[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("src/lib.rs"), [""; 0]);
    assert_eq!(of("src/hub/mod.rs"), [""; 0]);
    assert_eq!(of("src/hub/log.rs"), [""; 0]);
    assert_eq!(of("src/hub/feed.rs"), ["src/hub/log.rs"]);
    assert_eq!(of("src/server/mod.rs"), ["src/server/start.rs"]);
    assert_eq!(of("src/server/start.rs"), ["src/hub/log.rs", "src/hub/mod.rs"]);
    assert_eq!(of("src/server/table.rs"), ["src/hub/feed.rs"]);
    assert_eq!(of("src/main.rs"), ["src/cli.rs", "src/server/start.rs"]);
    assert!(!imports.contains_key("src/server/table_tests.rs"));
}
