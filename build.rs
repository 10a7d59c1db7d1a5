//! Lets cargo look at the built page: it is embedded in the binary, and appears or changes after the first build.

fn main() {
    // A folder that is missing would make cargo run this, and compile the crate, each time.
    if let Err(error) = std::fs::create_dir_all("web/dist") {
        println!("cargo:warning=web/dist cannot be made: {error}");
    }
    println!("cargo:rerun-if-changed=web/dist");
}
