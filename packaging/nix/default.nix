# The programs for Nix: nix-build packaging/nix
{ pkgs ? import <nixpkgs> { } }:

pkgs.rustPlatform.buildRustPackage {
  pname = "rpubsub";
  version = "0.1.0";
  src = pkgs.lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  cargoBuildFlags = [ "--package" "mqtt-cli" ];
  # The tests of whole programs need mosquitto and other peers. `cargo xtask test` runs them.
  cargoTestFlags = [ "--package" "mqtt-cli" "--lib" ];
  nativeBuildInputs = [ pkgs.installShellFiles ];

  postInstall = ''
    for name in rpub rsub rrr rbroker; do
      $out/bin/$name man > $name.1
      for shell in bash zsh fish; do
        $out/bin/$name completions $shell > $name.$shell
      done
      installManPage $name.1
      installShellCompletion --cmd $name --bash $name.bash --zsh $name.zsh --fish $name.fish
    done
    for name in passwd status; do
      $out/bin/rbroker man $name > rbroker-$name.1
      installManPage rbroker-$name.1
    done
    $out/bin/rbroker man conf > rbroker.conf.5
    installManPage rbroker.conf.5
  '';

  meta = {
    description = "MQTT on the command line: rpub, rsub, rrr and the broker rbroker";
    license = with pkgs.lib.licenses; [ mit asl20 ];
    mainProgram = "rpub";
  };
}
