//! What the pages say of the project itself: links lead somewhere, files and tests that are named are there, and there is one number for
//! the release.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use transcription_operator::release::Release;
use transcription_tests::files::root;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the project is on the forge: such links are files of the project.
const FORGE: &str = "https://github.com/transcription-stack/transcription-stack";
/// The folders that a path in a text begins with.
const FOLDERS: [&str; 6] = [
    "charts/",
    "docs/",
    "k8s/",
    "operator/",
    "services/",
    "tests/",
];

#[test]
fn every_link_leads_somewhere_and_every_file_and_test_that_is_named_is_there() {
    let found = dead_ends(&root());

    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_link_a_file_or_a_test_that_is_not_there_is_found() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write(
        "README.md",
        "# Here\n## `One` two, [three](docs/page.md)!\n## Twice\n## Twice\n```sh\n# no heading\n[no](link.md)\n```\n\
         [well](docs/page.md) [well](#one-two-three) [well](#twice-1) [well](docs) `docs/page.md` `docs/no-*` `[no](link.md)`\n\
         [1](docs/other.md) [2](#no-heading) [3](docs/page.md#gone) `docs/gone.rs` `accounts::nobody_can_do_this_any_more`\n",
    );
    write(
        "docs/page.md",
        &format!("# Page\n[well](../README.md#here) [4](README.md) <{FORGE}/blob/main/gone.md>\n"),
    );
    write("tests/contract/accounts.rs", "fn somebody_can_do_that() {}");

    let found = dead_ends(folder.path());

    let at = found.iter().map(|line| line.split_once(": ").unwrap().1);
    assert_eq!(
        at.collect::<Vec<_>>(),
        [
            "docs/other.md",
            "#no-heading",
            "docs/page.md#gone",
            "docs/gone.rs",
            "accounts::nobody_can_do_this_any_more",
            "README.md",
            "/gone.md",
        ]
    );
}

#[test]
fn every_fault_that_is_caused_is_on_its_page() {
    let page = fs::read_to_string(root().join("docs/faults.md")).unwrap();

    let mut missing = Vec::new();
    for file in files(&root().join("tests/faults"), &["rs"]) {
        let module = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split("#[tokio::test]\nasync fn ").skip(1) {
            let (name, _) = rest.split_once('(').unwrap();
            if !page.contains(&format!("`{module}::{name}`")) {
                missing.push(format!("{module}::{name}"));
            }
        }
    }

    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_release_has_the_same_number_everywhere() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let yaml = |file: &str| serde_saphyr::from_str::<Value>(&read(file)).unwrap();
    let json = |file: &str| serde_json::from_str::<Value>(&read(file)).unwrap();

    assert_eq!(Release::NEWEST.number(), VERSION, "operator/src/release.rs");
    for chart in ["auth", "operator", "transcription"] {
        let file = format!("charts/{chart}/Chart.yaml");
        let chart = yaml(&file);
        for key in ["version", "appVersion"] {
            assert_eq!(chart[key], VERSION, "{file}: {key}");
        }
    }
    for service in ["auth", "transcription"] {
        let file = format!("services/{service}/openapi.json");
        assert_eq!(json(&file)["info"]["version"], VERSION, "{file}");
    }
    let production = yaml("k8s/samples/production.yaml");
    assert_eq!(production["spec"]["version"], VERSION, "k8s/samples");
    for (file, line) in [
        ("Dockerfile", format!("ARG VERSION={VERSION}\n")),
        ("k8s/crd.yaml", format!("for example {VERSION}.")),
        (
            "docs/upgrading.md",
            format!("{{\"version\":\"{VERSION}\"}}"),
        ),
        ("SECURITY.md", format!("| {}.x | yes |\n", series())),
    ] {
        assert!(read(file).contains(&line), "{file} has no {line}");
    }
    for frozen in [
        format!("tests/data/rendered/{VERSION}/everything.yaml"),
        format!("tests/data/crd/v1alpha1-{VERSION}.yaml"),
    ] {
        assert!(root().join(&frozen).is_file(), "there is no {frozen}");
    }
    let images = images();
    assert!(images.len() >= 4, "{images:?}");
    for (image, file) in images {
        let (_, tag) = image.split_once(':').unwrap();
        let release = tag.strip_suffix("-whisper").unwrap_or(tag);
        assert_eq!(release, VERSION, "{}: {image}", file.display());
    }
}

#[test]
fn the_changelog_tells_of_this_release_first() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();

    let mut releases = changelog
        .lines()
        .filter_map(|line| line.strip_prefix("## ["))
        .filter(|line| *line != "Unreleased]");
    let newest = releases.next().unwrap();
    let (number, day) = newest.split_once("] - ").unwrap();

    assert_eq!(number, VERSION);
    let is_day = day.len() == 10
        && day.split('-').map(str::len).eq([4, 2, 2])
        && day.replace('-', "").parse::<u32>().is_ok();
    assert!(day == "unreleased" || is_day, "{day}");
    let link = format!("\n[{VERSION}]: {FORGE}/releases/tag/v{VERSION}\n");
    assert!(changelog.contains(&link), "there is no{link}");
}

/// `0.1` of `0.1.0`.
fn series() -> &'static str {
    VERSION.rsplit_once('.').unwrap().0
}

/// The images of ours that are named with a version, and where.
fn images() -> BTreeMap<String, PathBuf> {
    const IMAGES: [&str; 3] = [
        "auth-service:",
        "transcription-service:",
        "transcription-operator:",
    ];
    let mut found = BTreeMap::new();
    for file in files(&root(), &["md", "yaml", "yml", "gotmpl"]) {
        // Tests make older ones, and the changelog tells of them.
        let name = file.strip_prefix(root()).unwrap();
        if name.starts_with("tests") || name == Path::new("CHANGELOG.md") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for image in IMAGES {
            for (at, _) in text.match_indices(image) {
                let rest = &text[at + image.len()..];
                let is_tag = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
                let tag = rest.split(|letter| !is_tag(letter)).next().unwrap();
                if tag.starts_with(|first: char| first.is_ascii_digit()) {
                    found.insert(format!("{image}{tag}"), name.to_owned());
                }
            }
        }
    }
    found
}

/// What the pages of a project name and is not there: a line each, with the page.
fn dead_ends(root: &Path) -> Vec<String> {
    let tests = tests(root);
    let mut found = Vec::new();
    for page in files(root, &["md"]) {
        let content = fs::read_to_string(&page).unwrap();
        let name = page.strip_prefix(root).unwrap().display();
        for link in links(&content) {
            if !leads_somewhere(root, &page, &link) {
                found.push(format!("{name}: {link}"));
            }
        }
        // What a run of the tests prints is named too.
        let printed = content
            .lines()
            .filter_map(|line| line.strip_prefix("test "));
        let printed = printed.filter_map(|line| line.split(' ').next());
        for word in spans(&content).into_iter().chain(printed) {
            let is_missing = match as_test(word) {
                Some((module, test)) => !tests.contains(&(module.to_owned(), test.to_owned())),
                None => is_path(word) && !root.join(word).exists(),
            };
            if is_missing {
                found.push(format!("{name}: {word}"));
            }
        }
    }
    found
}

/// Files with these endings, below a folder. What is hidden, built or made by running it is not the project's.
fn files(folder: &Path, kinds: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(&below).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let is_made = below == folder && ["target", "data"].contains(&name.as_str());
            if name.starts_with('.') || is_made {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|kind| kinds.iter().any(|one| kind == *one))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a page that are text, and not a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a page lead: all that are within the project. One to the forge is a path from the root.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        // A span of code in the words of a link is no code around one.
        let words = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        let targets = words.split("](").skip(1);
        let targets = targets.filter_map(|rest| rest.split([')', ' ']).next());
        let bare = words.split('<').skip(1);
        let bare = bare.filter_map(|rest| rest.split_once('>').map(|(target, _)| target));
        let bare = bare.filter(|target| target.starts_with(FORGE));
        for target in targets.chain(bare) {
            let of_forge = ["blob", "tree"]
                .iter()
                .find_map(|kind| target.strip_prefix(&format!("{FORGE}/{kind}/main/")));
            if let Some(file) = of_forge {
                found.push(format!("/{file}"));
            } else if !target.contains("://") {
                found.push(target.to_owned());
            }
        }
    }
    found
}

fn leads_somewhere(root: &Path, page: &Path, link: &str) -> bool {
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = match file.strip_prefix('/') {
        Some(from_root) => root.join(from_root),
        None if file.is_empty() => page.to_owned(),
        None => page.parent().unwrap().join(file),
    };
    let root = root.canonicalize().unwrap();
    let target = target.canonicalize().ok();
    let Some(target) = target.filter(|target| target.starts_with(root)) else {
        return false;
    };
    anchor.is_none_or(|anchor| {
        target.extension().is_some_and(|kind| kind == "md")
            && anchors(&fs::read_to_string(&target).unwrap()).contains(anchor)
    })
}

/// The names by which a page's headings are linked to, as the forge makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in prose(text) {
        let words = line.trim_start_matches('#');
        let Some(heading) = words.strip_prefix(' ').filter(|_| line.starts_with('#')) else {
            continue;
        };
        // Of a link its words count.
        let mut plain = String::new();
        for part in heading.split("](") {
            let after = part.split_once(')').filter(|_| !plain.is_empty());
            plain.push_str(after.map_or(part, |(_, after)| after));
        }
        let slug = plain.trim().to_lowercase().replace(' ', "-").replace(
            |letter: char| !letter.is_alphanumeric() && !"-_".contains(letter),
            "",
        );
        let mut name = slug.clone();
        for number in 1.. {
            if found.insert(name) {
                break;
            }
            name = format!("{slug}-{number}");
        }
    }
    found
}

/// What stands between backticks.
fn spans(text: &str) -> Vec<&str> {
    let spans = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    spans.collect()
}

/// Whether this is the path of one file or folder of the project, from its root.
fn is_path(word: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    FOLDERS.iter().any(|folder| word.starts_with(folder)) && word.chars().all(is_plain)
}

/// A module and a test, if this is how a test is named: `module::a_sentence_of_words`.
fn as_test(word: &str) -> Option<(&str, &str)> {
    let (module, test) = word.rsplit_once("::")?;
    let is_name = |name: &str| {
        name.chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_')
    };
    let module = module.rsplit("::").next()?;
    (is_name(module) && is_name(test) && test.matches('_').count() >= 2).then_some((module, test))
}

/// Every function in the sources, by the module that has it.
fn tests(root: &Path) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in files(root, &["rs"]) {
        let module = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split("fn ").skip(1) {
            if let Some((name, _)) = rest.split_once('(') {
                found.insert((module.clone(), name.to_owned()));
            }
        }
    }
    found
}
