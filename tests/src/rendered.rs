//! What a release renders, for each spec in `tests/data/rendered/<release>`: frozen with the release.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files::data;
use serde::Serialize;
use serde_json::{Value, json};
use transcription_operator::api::TranscriptionStack;
use transcription_operator::build::{Resources, build};
use transcription_operator::dereference::{Found, References};
use transcription_operator::error::Error;
use transcription_operator::names::{self, Component};
use transcription_operator::needs::{self, Need, Purpose, Source};
use transcription_operator::release::{IMAGE_PREFIX, Releases};
use transcription_operator::validate::{Surroundings, Validated, validate};
use transcription_operator::yaml;

/// A spec, and where what it becomes is kept.
pub struct Case {
    /// The release that renders it.
    pub release: String,
    /// The file with what it becomes.
    pub frozen: PathBuf,
    spec: Value,
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let folder = data("rendered");
    let mut cases = Vec::new();
    for release in files(&folder) {
        for spec in files(&release) {
            let name = spec.to_string_lossy().into_owned();
            let Some(start) = name.strip_suffix(".spec.yaml") else {
                continue;
            };
            let text = fs::read_to_string(&spec).unwrap();
            cases.push(Case {
                release: release.file_name().unwrap().to_string_lossy().into_owned(),
                frozen: format!("{start}.yaml").into(),
                spec: serde_saphyr::from_str(&text).unwrap(),
            });
        }
    }
    cases
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files = entries
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    files.sort();
    files
}

impl Case {
    /// What the operator makes of it now.
    pub fn rendered(&self) -> String {
        let mut spec = self.spec.clone();
        spec["version"] = self.release.as_str().into();
        let stack = json!({
            "apiVersion": "transcription.dev/v1alpha1",
            "kind": "TranscriptionStack",
            "metadata": {"name": "demo", "namespace": "team", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1},
            "spec": spec,
        });
        let stack = serde_json::from_value::<TranscriptionStack>(stack).unwrap();
        let validated = validated(&stack, &everything_is_there(&stack)).unwrap();
        yaml::documents(&objects(build(&validated))).unwrap()
    }
}

/// What the operator makes of a stack now, if everything that its spec names is there but for the signing key, which is made.
pub fn children(stack: &TranscriptionStack) -> Result<Vec<Value>, Error> {
    let mut references = everything_is_there(stack);
    references.key_is_missing = true;
    let resources = build(&validated(stack, &references)?);
    // The number of replicas is no object.
    let objects = objects(resources).into_iter();
    Ok(objects
        .filter(|object| object["kind"].is_string())
        .collect())
}

fn validated(stack: &TranscriptionStack, references: &References) -> Result<Validated, Error> {
    let surroundings = Surroundings {
        releases: Releases::default(),
        image_prefix: IMAGE_PREFIX.to_owned(),
        has_service_monitors: true,
    };
    validate(stack, references, surroundings)
}

/// Everything that a spec names is found, with a content of the same name.
fn everything_is_there(stack: &TranscriptionStack) -> References {
    let mut all = needs::of(&stack.spec);
    all.extend(Component::ALL.map(|component| Need {
        component,
        source: Source::Secret,
        name: names::made_key("demo"),
        key: names::JWT_KEY.to_owned(),
        purpose: Purpose::SigningKey,
    }));
    let found = all.into_iter().map(|need| {
        let content = Found::Usable(format!("hash of {}", need.key));
        (need, content)
    });
    References {
        needs: found.collect(),
        key_is_missing: false,
        users_claim: None,
        model_claim_exists: true,
    }
}

fn objects(resources: Resources) -> Vec<Value> {
    let Resources {
        service_accounts,
        config_maps,
        services,
        network_policies,
        ingresses,
        service_monitors,
        signing_key,
        claim,
        stateful_set,
        deployment,
        replicas,
        autoscaler,
        disruption_budget,
    } = resources;
    let mut all = Vec::new();
    add(&mut all, service_accounts);
    add(&mut all, config_maps);
    add(&mut all, services);
    add(&mut all, network_policies);
    add(&mut all, ingresses);
    add(&mut all, service_monitors);
    add(&mut all, signing_key);
    add(&mut all, claim);
    add(&mut all, [stateful_set]);
    add(&mut all, [deployment]);
    add(
        &mut all,
        replicas.map(|replicas| json!({"replicas": replicas})),
    );
    add(&mut all, autoscaler);
    add(&mut all, disruption_budget);
    all
}

fn add<T: Serialize>(all: &mut Vec<Value>, objects: impl IntoIterator<Item = T>) {
    let objects = objects.into_iter();
    all.extend(objects.map(|object| serde_json::to_value(object).unwrap()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pods of every stack of that release would restart when a new operator comes. So what a release renders never changes: make a new
    /// release of what is to be other. Before the release is out, delete the frozen file and make it anew by `make generate`.
    #[test]
    fn what_a_release_renders_never_changes() {
        for case in cases() {
            let frozen = fs::read_to_string(&case.frozen).unwrap();

            assert_eq!(case.rendered(), frozen, "{}", case.frozen.display());
        }
    }
}
