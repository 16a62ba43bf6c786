"""The workstation's side: trained models in, bundles out."""
