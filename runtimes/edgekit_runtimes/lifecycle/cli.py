"""``edgekit push`` and ``edgekit pull``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("target")
@click.option("--plain-http", is_flag=True, help="Talk to an OCI registry without TLS; on this machine always.")
def push(*, bundle: Path, target: str, plain_http: bool) -> None:
    """Put a BUNDLE where your team keeps models. The bundle is checked first; files that are there are not sent again.

    \b
    TARGET:
      oci://REGISTRY/NAME:TAG     an OCI registry (of a cloud, GitHub or your own), as an OCI artifact
      hf:OWNER/NAME[@REVISION]    a model on the Hugging Face hub, private when it is new
      hf:./FOLDER                 the same as a folder on this machine
      mlflow:                     a new run of MLflow's active experiment; mlflow:RUN for a run that is there
      models:/NAME                the same, registered as the next version of a model

    Credentials are those of the tools themselves: docker login, hf auth login, and MLflow's environment variables. The
    extras are oci, hub and mlflow. MLflow's own usage reports are off here.
    """  # noqa: D301  click's mark for a paragraph that is not rewrapped
    from edgekit.bundle import Bundle
    from edgekit_runtimes.lifecycle.place import kind_of

    kind = kind_of(target)
    opened = Bundle(bundle)
    if kind == "oci":
        from edgekit_runtimes.lifecycle.oci import push as push_oci

        done = push_oci(opened, target, plain_http=plain_http)
    elif kind == "hf":
        from edgekit_runtimes.lifecycle.hub import push as push_hub

        done = push_hub(opened, target)
    else:
        from edgekit_runtimes.lifecycle.tracking import push as push_mlflow

        done = push_mlflow(opened, target)
    kept = f", {done.kept} there already" if done.kept else ""
    click.echo(f"sent {done.files} files, {done.sent / 1e6:.2f} MB{kept}", err=True)
    click.echo(done.address)


@click.command()
@click.argument("source")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the bundle.")
@click.option("--plain-http", is_flag=True, help="Talk to an OCI registry without TLS; on this machine always.")
def pull(*, source: str, output: Path, plain_http: bool) -> None:
    """Fetch a bundle from SOURCE, an address as for edgekit push, and check every file.

    \b
    SOURCE:
      oci://REGISTRY/NAME:TAG or oci://REGISTRY/NAME@sha256:DIGEST
      hf:OWNER/NAME[@REVISION] or hf:./FOLDER
      mlflow:RUN[/MODEL], models:/NAME/VERSION or models:/NAME@ALIAS

    A bundle that is at -o is replaced in one step when the new one is whole, and stays as it is otherwise.
    """  # noqa: D301  click's mark for a paragraph that is not rewrapped
    from edgekit.bundle import Bundle
    from edgekit_runtimes.lifecycle.place import arriving, kind_of

    kind = kind_of(source)
    with arriving(output, source) as folder:
        if kind == "oci":
            from edgekit_runtimes.lifecycle.oci import pull as pull_oci

            pull_oci(source, folder, have=output, plain_http=plain_http)
        elif kind == "hf":
            from edgekit_runtimes.lifecycle.hub import pull as pull_hub

            pull_hub(source, folder)
        else:
            from edgekit_runtimes.lifecycle.tracking import pull as pull_mlflow

            pull_mlflow(source, folder)
    name = Bundle(output, check=False).manifest.name
    click.echo(f"{output}: {name}, every file has its hash; next: edgekit verify {output}", err=True)
