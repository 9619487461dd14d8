//! Replays the inputs that fuzzing has found, with a stable compiler.

use std::path::Path;

#[test]
fn every_input_of_the_corpus_passes_its_target() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in mqtt_fuzz::TARGETS {
        let folder = corpora.join(name);
        let mut count = 0;
        for file in std::fs::read_dir(&folder).expect("each target has a corpus") {
            let path = file.expect("a file").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("readable"));
            count += 1;
        }
        assert!(count > 0, "{} has no inputs", folder.display());
    }
}
