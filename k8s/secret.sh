#!/bin/sh
# Prints the Secret that the pods wait for, with a password of its own:  k8s/secret.sh | kubectl create -f -
# It isn't among the manifests: one in the repository would be known to all, and applying them again would put it back.
set -eu
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')  # hexadecimal, since it stands in URLs
cat <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: vdmini-secret
  namespace: vdmini
  labels:
    app.kubernetes.io/name: vdmini
    app.kubernetes.io/part-of: vdmini
type: Opaque
stringData:
  redis-password: $password
SECRET
