//! Links: each leads to a file, and to a heading of it where it names one; the book has every page.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use super::{in_repository, page};

/// What a path of the repository is called where a page must be readable as part of the book, too.
const REPOSITORY: [&str; 2] =
    ["https://github.com/countersign/countersign/blob/main/", "https://github.com/countersign/countersign/tree/main/"];

/// Every Markdown file that is ours, by its path in the repository.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for directory in ["", "docs", "docs/adr", "deploy", ".github"] {
        let Ok(entries) = std::fs::read_dir(in_repository(directory)) else { continue };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let pages = names.filter(|name| name.ends_with(".md"));
        found.extend(pages.map(|name| if directory.is_empty() { name } else { format!("{directory}/{name}") }));
    }
    found.sort();
    assert!(found.len() > 30, "{found:?}");
    found
}

/// Lines outside of fenced blocks, without what stands in backticks.
fn prose(text: &str) -> String {
    let code = Regex::new("`[^`\n]*`").expect("a pattern");
    let mut fenced = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.map(|line| format!("{line}\n")).map(|line| code.replace_all(&line, "``").into_owned()).collect()
}

/// Where the links and pictures of a page lead.
fn targets(text: &str) -> Vec<String> {
    let text = prose(text);
    let inline = Regex::new(r#"\]\(([^)\s]+)\)|(?:src|href)="([^"]+)""#).expect("a pattern");
    inline
        .captures_iter(&text)
        .map(|found| found.get(1).or_else(|| found.get(2)).expect("a group").as_str().to_owned())
        .collect()
}

/// What headings of a page are called in links, on GitHub and in the book alike.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    let links = Regex::new(r"\[([^\]]*)\]\([^)]*\)").expect("a pattern");
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let title = links.replace_all(title.trim(), "$1").to_lowercase().replace(' ', "-");
        found.insert(title.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect());
    }
    found
}

/// A path without `.` and `..`; `None` where it leads out of the repository.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut made = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => made.pop().then_some(())?,
            Component::Normal(name) => made.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(made)
}

/// What is wrong with a link.
fn fault(from: &str, target: &str, headings: &HashMap<String, BTreeSet<String>>) -> Option<String> {
    let own = REPOSITORY.iter().find_map(|base| target.strip_prefix(base));
    if own.is_none() && target.contains("://") {
        return (!target.starts_with("https://")).then(|| "is not encrypted".to_owned());
    }
    let (path, anchor) = own.unwrap_or(target).split_once('#').unwrap_or((own.unwrap_or(target), ""));
    let beside = Path::new(from).parent().unwrap_or(Path::new(""));
    let path = match (own, path) {
        (Some(path), _) => PathBuf::from(path.split('#').next().unwrap_or(path)),
        (None, "") => PathBuf::from(from),
        (None, path) => normal(&beside.join(path))?,
    };
    if !in_repository(&path.to_string_lossy()).exists() {
        return Some("leads nowhere".to_owned());
    }
    if own.is_none() && from.starts_with("docs/") && !path.starts_with("docs") {
        return Some(format!("leads out of the book: write {}{}", REPOSITORY[0], path.display()));
    }
    let known = headings.get(&*path.to_string_lossy());
    let is_there = anchor.is_empty() || known.is_none_or(|known| known.contains(anchor));
    (!is_there).then(|| format!("there is no such heading in {}", path.display()))
}

#[test]
fn every_link_leads_somewhere() {
    let texts: Vec<(String, String)> = documents().into_iter().map(|path| (path.clone(), page(&path))).collect();
    let headings: HashMap<_, _> = texts.iter().map(|(path, text)| (path.clone(), anchors(text))).collect();
    let (mut findings, mut count) = (Vec::new(), 0);
    for (path, text) in &texts {
        for target in targets(text) {
            count += 1;
            findings.extend(fault(path, &target, &headings).map(|fault| format!("{path}: {target}: {fault}")));
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(count > 150, "only {count} links were found");
}

#[test]
fn what_is_wrong_with_a_link_is_found() {
    let headings = HashMap::from([("docs/web.md".to_owned(), anchors("# The page\n## What is there, `now`\n"))]);
    let check = |target: &str, expected: Option<&str>| {
        let found = fault("docs/api.md", target, &headings);
        assert_eq!(found.is_some(), expected.is_some(), "{target}: {found:?}");
        assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{target}");
    };
    check("web.md", None);
    check("web.md#what-is-there-now", None);
    check("https://example.com/#x", None);
    check("https://github.com/countersign/countersign/blob/main/Cargo.toml", None);
    check("web.md#what-was-there", Some("no such heading"));
    check("wob.md", Some("nowhere"));
    check("../Cargo.toml", Some("out of the book"));
    check("http://example.com/", Some("not encrypted"));
    check("https://github.com/countersign/countersign/blob/main/nothing.rs", Some("nowhere"));
    assert_eq!(targets("`[a](b)` [c](d)\n```\n[e](f)\n```\n![g](h.png) <img src=\"i.png\">"), ["d", "h.png", "i.png"]);
}

#[test]
fn the_book_has_every_page() {
    let summary = page("docs/SUMMARY.md");
    let listed: Vec<String> = targets(&summary);
    let distinct: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), distinct.len(), "a page is listed twice");
    let pages: BTreeSet<String> = documents()
        .iter()
        .filter_map(|path| path.strip_prefix("docs/").map(str::to_owned))
        .filter(|path| path != "SUMMARY.md")
        .collect();
    assert_eq!(distinct, pages, "docs/SUMMARY.md lists the left, docs has the right");
    assert!(targets(&page("README.md")).contains(&"docs/SUMMARY.md".to_owned()), "README.md leads to the book");
}

#[test]
fn every_decision_is_in_its_index_by_its_title() {
    let index = page("docs/adr/README.md");
    for path in documents().iter().filter(|path| path.starts_with("docs/adr/0")) {
        let text = page(path);
        let (number, title) =
            text.trim_start_matches("# ").lines().next().expect("a title").split_once(". ").expect("number");
        let name = path.trim_start_matches("docs/adr/");
        assert!(name.starts_with(&format!("{number:0>4}-")), "{path} is number {number}");
        let line = format!("{number}. [{title}]({name})\n");
        assert!(index.contains(&line), "docs/adr/README.md lacks: {line}");
        assert!(page("docs/SUMMARY.md").contains(&format!("[{title}](adr/{name})\n")), "docs/SUMMARY.md: {title}");
    }
}

#[test]
fn every_picture_is_shown_somewhere() {
    let shown: String = documents().iter().map(|path| page(path)).collect();
    for entry in std::fs::read_dir(in_repository("docs/images")).expect("pictures").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(shown.contains(&format!("images/{name}")), "{name} is shown on no page");
    }
}
